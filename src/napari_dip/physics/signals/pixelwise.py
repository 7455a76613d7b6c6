"""The fit of a signal equation to each pixel alone, with the bound of its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import Signal

GRID = 200  # values of the parameter that are tried first, in equal ratios
STEPS = 12
DIFFERENCE = 1e-4  # of the logarithm, between whose sides a derivative is taken: 8 digits are right
MIN_CURVATURE = 1e-12  # of the misfit, relative to the signal, below which nothing is known
PIXELS_AT_A_TIME = 2**14


@dataclass(frozen=True)
class PixelFit:
    """What was found for P pixels.

    Attributes
    ----------
    value, value_std : (P,) tensor
        The parameter, and the Cramer-Rao bound of its standard deviation; infinite where the data say
        nothing of it.
    linear, linear_std : (L, P) tensor
        The same of the linear quantities.
    misfit : (P,) tensor
        Sum of the squared residuals over the degrees of freedom: the variance of the noise, where the
        equation holds.
    variance : float
        The variance of the noise that the bounds are for.
    """

    value: torch.Tensor
    value_std: torch.Tensor
    linear: torch.Tensor
    linear_std: torch.Tensor
    misfit: torch.Tensor
    variance: float


def fit_pixels(signal: Signal, y: torch.Tensor, sigma: float | None = None) -> PixelFit:
    """Fit `signal` to pixels (num_contrasts, P), by least squares.

    The linear quantities are eliminated (variable projection): the parameter alone is searched on a
    grid, and then by damped Gauss-Newton steps of its logarithm.

    Parameters
    ----------
    signal : Signal
        The equation.
    y : (num_contrasts, P) tensor
        The data, all finite.
    sigma : float, optional
        Standard deviation of the noise; automatic: from the typical misfit.

    References
    ----------
    .. [1] Golub, Pereyra, "Separable nonlinear least squares: the variable projection method and its
           applications", Inverse Problems 19 (2003) R1, section 2.
    .. [2] Kay, "Fundamentals of statistical signal processing: estimation theory" (1993), section 3.9
           (the bound).
    """
    parts = [_fit(signal, part) for part in torch.split(y.double(), PIXELS_AT_A_TIME, dim=1)]
    log_value, linear, misfit = (torch.cat(found, dim=-1) for found in zip(*parts, strict=True))
    if sigma is None:
        variance = _typical_variance(misfit, y.norm(dim=0), _freedom(signal))
    else:
        variance = sigma**2
    value_std, linear_std = _bound(signal, log_value, linear)
    noise = variance**0.5
    value = log_value.exp()
    return PixelFit(value, noise * value * value_std, linear, noise * linear_std, misfit, variance)


def project_residuals(
    signal: Signal, value: torch.Tensor, linear: torch.Tensor, residual: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by how much the data contradict the parameter (P,) and the linear quantities (L, P): the
    change that fits them best, in units of its bound.

    Parameters
    ----------
    signal : Signal
        The equation.
    value, linear : (P,) and (L, P) tensor
        The parameter, and the linear quantities.
    residual : (num_contrasts, P) tensor
        The data minus the images, in units of their noise.
    """
    jacobian, _ = _scaled_jacobian(signal, value.log(), linear)
    inverse = torch.linalg.pinv(jacobian)
    inverse = inverse / inverse.norm(dim=2, keepdim=True).clamp(min=1e-300)
    found = (inverse @ residual.T[..., None])[..., 0].T
    return found[-1], found[:-1]


def _freedom(signal: Signal) -> int:
    return signal.num_contrasts - len(signal.linear) - 1


def _fit(signal: Signal, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The logarithm of the parameter, the linear quantities, and the misfit."""
    _, _, low, high = signal.parameter
    low, high = math.log(low), math.log(high)
    grid = torch.linspace(low, high, GRID, dtype=y.dtype, device=y.device)
    orthonormal, _ = torch.linalg.qr(signal.basis(grid.exp()).permute(2, 0, 1))
    energy = (orthonormal.mT @ y).square().sum(dim=1)
    log_value = grid[energy.argmax(dim=0)]
    best, linear, direction, residual = _project(signal, log_value, y)
    damping = torch.ones_like(log_value)
    for _ in range(STEPS):
        curvature = direction.square().sum(dim=0).clamp(min=MIN_CURVATURE)
        step = damping * (direction * residual).sum(dim=0) / curvature
        trial = (log_value + step.clamp(-1, 1)).clamp(low, high)
        found = _project(signal, trial, y)
        better = found[0] < best
        damping = torch.where(better, (2 * damping).clamp(max=1), damping / 4)
        log_value = torch.where(better, trial, log_value)
        best, linear, direction, residual = (
            torch.where(better, new, old)
            for new, old in zip(found, (best, linear, direction, residual), strict=True)
        )
    return log_value, linear, best / max(_freedom(signal), 1)


def _project(
    signal: Signal, log_value: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The squared misfit with the best linear quantities, these, the derivative of the signal by the
    logarithm of the parameter as far as they cannot make up for it, and the residual.
    """
    basis, slope = _basis_and_slope(signal, log_value)
    orthonormal, triangle = torch.linalg.qr(basis.permute(2, 0, 1))
    data = y.T[..., None]
    coefficients = orthonormal.mT @ data
    residual = (data - orthonormal @ coefficients)[..., 0].T
    linear = torch.linalg.solve_triangular(triangle, coefficients, upper=True)[..., 0].T
    change = (slope * linear).sum(dim=1).T[..., None]
    direction = (change - orthonormal @ (orthonormal.mT @ change))[..., 0].T
    return residual.square().sum(dim=0), linear, direction, residual


def _basis_and_slope(signal: Signal, log_value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The basis, and its derivative by the logarithm of the parameter, (N, L, P) each."""
    above, below = (signal.basis((log_value + step).exp()) for step in (DIFFERENCE, -DIFFERENCE))
    return signal.basis(log_value.exp()), (above - below) / (2 * DIFFERENCE)


def _bound(
    signal: Signal, log_value: torch.Tensor, linear: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The Cramer-Rao bounds of the logarithm and of the linear quantities, for noise of 1."""
    scaled, scale = _scaled_jacobian(signal, log_value, linear)
    information = scaled.mT @ scaled
    known = torch.linalg.det(information) > MIN_CURVATURE
    identity = torch.eye(information.shape[-1], dtype=information.dtype, device=information.device)
    inverse = torch.linalg.inv(torch.where(known[:, None, None], information, identity))
    variance = inverse.diagonal(dim1=1, dim2=2) / scale.square()
    std = torch.where(known[:, None], variance.sqrt(), torch.inf).T
    return std[-1], std[:-1]


def _scaled_jacobian(
    signal: Signal, log_value: torch.Tensor, linear: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The derivatives of the signal by the linear quantities and by the logarithm of the parameter,
    (P, N, L + 1), scaled to a norm of 1, and these norms (P, L + 1).
    """
    basis, slope = _basis_and_slope(signal, log_value)
    jacobian = torch.cat((basis, (slope * linear).sum(dim=1, keepdim=True)), dim=1).permute(2, 0, 1)
    scale = jacobian.norm(dim=1).clamp(min=1e-300)
    return jacobian / scale[:, None], scale


def _typical_variance(misfit: torch.Tensor, brightness: torch.Tensor, freedom: int) -> float:
    """The variance of the noise, from the median misfit of the brightest quarter of the pixels: that of
    magnitudes is smaller where there is no signal.
    """
    from scipy.stats import chi2

    bright = brightness >= float(np.quantile(brightness.cpu().numpy(), 0.75))
    return float(misfit[bright].median()) * freedom / float(chi2.median(freedom))
