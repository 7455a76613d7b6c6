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
        Maximum number of iterations; they end where the residual is 1e-5 of `b`.

    References
    ----------
    .. [1] Hestenes, Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. Natl.
           Bur. Stand. 49 (1952) 409.
    """
    scale = b.abs().max()
    if not scale > 0:
        return b
    residual = b / scale  # data of 1e-20 squared would vanish in float32
    u, direction, power = torch.zeros_like(residual), residual, (residual**2).sum()
    tolerance = 1e-10 * power
    for _ in range(max_iter):
        image = A(direction)
        length = power / (direction * image).sum()
        u = u + length * direction
        residual = residual - length * image
        power, previous = (residual**2).sum(), power
        if not power > tolerance:
            break
        direction = residual + power / previous * direction
    return scale * u
