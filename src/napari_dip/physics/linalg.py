"""Linear algebra."""

from __future__ import annotations

from collections.abc import Callable

from napari_dip.core.torch_import import torch


def conjugate_gradient(
    A: Callable[[torch.Tensor], torch.Tensor],  # noqa: N803 - the matrix of A u = b
    b: torch.Tensor,
    max_iter: int,
) -> torch.Tensor:
    """Solve A u = b, where A is linear, symmetric and positive semidefinite.

    Parameters
    ----------
    A : callable
        The map, on tensors shaped as `b`.
    b : tensor
        The right-hand side.
    max_iter : int
        Maximum number of iterations. On a CPU they end where the residual is 1e-5 of `b`; a GPU takes
        all of them, because it would have to wait for the answer.

    References
    ----------
    .. [1] Hestenes, Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. Natl.
           Bur. Stand. 49 (1952) 409.
    """
    largest = b.abs().max()
    scale = torch.where(largest > 0, largest, 1.0)  # data of 1e-20 squared would vanish in float32
    residual = b / scale
    u, direction, power = torch.zeros_like(residual), residual, (residual**2).sum()
    tolerance = 1e-10 * power
    for _ in range(max_iter):
        image = A(direction)
        length = _ratio(power, (direction * image).sum())
        u = u + length * direction
        residual = residual - length * image
        power, previous = (residual**2).sum(), power
        if _can_stop_early(b.device) and not power > tolerance:
            break
        direction = residual + _ratio(power, previous) * direction
    return scale * u


def _can_stop_early(device: torch.device) -> bool:
    return device.type == "cpu"


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """The ratio of two scalars; 0 where the second one is, as it is when the solution is exact."""
    return torch.where(denominator > 0, numerator / denominator, 0.0)
