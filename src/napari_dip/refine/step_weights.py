"""How much of a step to another estimate is taken: as much as data that were not fitted confirm."""

from __future__ import annotations

import math

from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem

# Typical weights of steps from the fit to what patches estimate, and how much they differ between images
# (photographs and star fields): of a step where it is small and where it is large compared with the
# noise; and of those to planes that are estimated jointly, separately, and by their residual.
LARGE_STEP_SIGMAS = 0.5
TYPICAL_OF_PLANE, TYPICAL_OF_JOINT_PLANES, STEP_WEIGHT_STD = (1.0, 1.0), (1.0, 0.0, 0.0), 0.25


def pixel_noise(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """Return the noise of each pixel of the scene `x`, (C, H, W); the median where it is unknown."""
    noise = problem.noise_std(x)[0]
    return torch.where(noise > 0, noise, noise[problem.observed[0]].median())


def split_step(step: torch.Tensor) -> torch.Tensor:
    """Return the small and the large parts of a step (C, H, W), in units of the noise; (2, C, H, W)."""
    small = torch.exp(-0.5 * (step / LARGE_STEP_SIGMAS) ** 2)
    return torch.stack((small * step, (1 - small) * step))


def step_weights(
    steps: torch.Tensor,
    x: torch.Tensor,
    problem: Problem,
    probe: torch.Tensor,
    typical: tuple[float, ...],
) -> torch.Tensor:
    """Return the weights, from 0 to 1, of `steps` (N, C, H, W) from `x`, in units of the noise; (N,).

    Where a step is large compared with the noise, the fit missed something; where it is small, it
    removes noise or adds it. The weights minimize the error that the part of the data that was not
    fitted shows; as that part is noisy, they are shrunk to `typical` values.

    References
    ----------
    .. [1] Luisier, Blu, Unser, "A new SURE approach to image denoising: interscale orthonormal wavelet
           thresholding", IEEE Trans. Image Process. 16 (2007) 593, eq. (10), (15); here the covariance
           with the noise is measured by the probe.
    """
    observed, noise = problem.observed[0], pixel_noise(problem, x)
    parts = steps[:, observed]
    probe = (probe[0] / noise)[observed]
    residual = ((problem.y[0] - x) / noise)[observed] - probe
    # Correlated noise is as uncertain as white noise in fewer pixels.
    width = problem.likelihood.properties.correlation_sigma
    variance = (1 + probe.square().mean()) * max(1.0, 4 * math.pi * width**2)
    weights: torch.Tensor = torch.linalg.solve(
        parts @ parts.T / variance + torch.eye(len(parts), device=parts.device) / STEP_WEIGHT_STD**2,
        parts @ residual / variance + parts.new_tensor(typical) / STEP_WEIGHT_STD**2,
    )
    return weights.clamp(0, 1)
