"""Scenes that agree with the data: projection, proximal step, Wiener estimate."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.linalg import conjugate_gradient
from napari_dip.physics.problem import Problem


def project_onto_data(problem: Problem, x: torch.Tensor, *, max_iter: int = 30) -> torch.Tensor:
    """Return the scene nearest to `x` that predicts each observed datum, except bounds.

    It is x + A^H u, where M A A^H u = M (y - A x) and M selects the observed data. For the identity it
    has the observed pixels themselves; for downsampling it is back-projection. A JPEG image agrees with
    its file.
    """
    if problem.likelihood.coding is not None:
        return problem.likelihood.coding.project(x)
    observed = problem.uncensored
    if problem.operator.is_identity:
        return torch.where(observed[0], problem.y[0], x)

    def normal(u: torch.Tensor) -> torch.Tensor:
        return observed * problem.operator(problem.operator.adjoint(u))

    residual = observed * (problem.y - problem.predicted(x))
    return x + problem.operator.adjoint(conjugate_gradient(normal, residual, max_iter))


def prox(problem: Problem, x: torch.Tensor, rho: float, *, max_iter: int = 20) -> torch.Tensor:
    """Return the scene that explains the observed data and lies near `x`, (C, H, W).

    It minimizes |(y - A X) / noise|^2 + rho |(X - x) / noise|^2 over the scene X, with the noise of the
    data that `x` predicts.
    """
    weight = problem.uncensored / problem.noise_std(x).square()
    penalty = rho / problem.scene_noise_std.square()

    def normal(u: torch.Tensor) -> torch.Tensor:
        return problem.operator.adjoint(weight * problem.operator(u)) + penalty * u

    residual = torch.where(problem.uncensored, problem.y - problem.predicted(x), 0.0)
    return x + conjugate_gradient(normal, problem.operator.adjoint(weight * residual), max_iter)


def wiener_estimate(problem: Problem) -> torch.Tensor:
    """Return the linear minimum mean square error estimate of a scene without structure, (C, H, W).

    It is m + A^H u, where (M A A^H M + r) u = M (y - A m), m is the mean of each channel, M selects the
    observed data and r is the ratio of the variance of the noise to that of the scene: a Wiener filter
    for data with gaps.

    References
    ----------
    .. [1] Kay, "Fundamentals of statistical signal processing: estimation theory", theorem 11.1.
    """
    values, observed = problem.scaled_data()
    number = observed.sum(dim=1).clamp(min=1)
    mean = torch.where(observed, values, 0.0).sum(dim=1) / number
    centered = torch.where(observed, values - mean[:, None], 0.0)
    noise = problem.scene_noise_std / problem.scene_noise_std.max()
    scale = problem.scene_noise_std.max()
    spread = ((centered / scale) ** 2).sum(dim=1)[:, None, None] / number[:, None, None]
    down, across = problem.operator.scale_factor
    gain = problem.operator.dc_gain**2 / (down * across)  # of the variance, in decimation
    ratio = gain * noise**2 / (spread - noise**2).clamp(min=1e-3 * spread)
    start = mean[:, None, None].expand(problem.operator.scene_shape)
    estimate = problem.operator.initial_estimate(problem.y, problem.observed)
    if estimate is not None:
        start, ratio = estimate, _noise_to_signal(problem, estimate)

    def normal(u: torch.Tensor) -> torch.Tensor:
        return problem.observed * problem.operator(problem.operator.adjoint(u)) + ratio * u

    residual = torch.where(problem.observed, problem.y - problem.predicted(start), 0.0)
    return start + problem.operator.adjoint(conjugate_gradient(normal, residual, 12))


def _noise_to_signal(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """The ratio of the variance of the noise to that of the scene about `x`, a scalar."""
    normalized = (problem.y - problem.predicted(x)) / problem.noise_std(x)
    power = normalized[problem.uncensored].square().mean()
    return 1 / (power - 1).clamp(min=1e-3 * power)


def rms_beyond_wiener(problem: Problem, x: torch.Tensor) -> float:
    """Return the r.m.s. distance of `x` from a linear estimate, where the data do not constrain it."""
    if problem.operator.is_identity:
        difference = (x - problem.smoothed[0])[~problem.observed[0]]
    else:
        difference = x - wiener_estimate(problem)
    return float(difference.cpu().double().square().mean().sqrt())
