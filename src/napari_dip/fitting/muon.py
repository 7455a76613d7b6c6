"""Muon: gradients of convolution kernels with all singular values made equal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from napari_dip.core.torch_import import torch

MOMENTUM = 0.9
NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the polynomial, of [1]
RMS_OF_UPDATE = 0.2  # that of Adam, so that rates mean the same


class Muon:
    """An optimizer for kernels, each as a matrix (outputs, inputs x height x width).

    The momentum of the gradient is replaced by the nearest matrix with orthonormal rows or columns, so
    that rare directions are learned as fast as frequent ones.

    Parameters
    ----------
    kernels : iterable of torch.nn.Parameter
        With two axes or more.

    Attributes
    ----------
    momenta : list of tensor
        The momentum of each kernel.

    References
    ----------
    .. [1] Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    .. [2] Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982, eq. (4), for the scale.
    """

    def __init__(self, kernels: Iterable[torch.nn.Parameter]) -> None:
        self._kernels = list(kernels)
        self.momenta = [torch.zeros_like(kernel) for kernel in self._kernels]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change each kernel by its gradient."""
        for kernel, momentum in zip(self._kernels, self.momenta, strict=True):
            if kernel.grad is None:
                continue
            momentum.mul_(MOMENTUM).add_(kernel.grad)
            ahead = kernel.grad.add(momentum, alpha=MOMENTUM).flatten(1)
            scale = rate * RMS_OF_UPDATE * math.sqrt(max(ahead.shape))
            kernel.sub_(orthogonalize(ahead).view_as(kernel), alpha=scale)


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the singular vectors of `matrix` and singular values between 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm().clamp(min=1e-30)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: torch.Tensor = x.T if is_tall else x
    return result
