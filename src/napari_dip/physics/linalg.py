"""Linear algebra."""

from __future__ import annotations

from collections.abc import Callable

from napari_dip.core.torch_import import torch


def conjugate_gradient(
    A: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor, steps: int
) -> torch.Tensor:
    """U with `through` u = `wanted`; `through` is linear, symmetric and not negative.

    References
    ----------
    .. [1] Hestenes, Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409.
    """
    scale = b.abs().max()
    if not scale > 0:
        return b
    left = b / scale  # data of 1e-20 squared would vanish in float32
    u, direction, power = torch.zeros_like(left), left, (left**2).sum()
    enough = 1e-10 * power
    for _ in range(steps):
        image = A(direction)
        length = power / (direction * image).sum()
        u = u + length * direction
        left = left - length * image
        power, before = (left**2).sum(), power
        if not power > enough:
            break
        direction = left + power / before * direction
    return scale * u
