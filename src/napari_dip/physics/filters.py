"""Means and smooth versions of planes that are observed in part."""

from __future__ import annotations

import math
from functools import lru_cache

from napari_dip.core.torch_import import torch

FWHM_OVER_SIGMA = math.sqrt(8 * math.log(2))  # of a Gaussian


def masked_mean(pixels: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the mean of `values` where `pixels` is true; 0 if it is nowhere."""
    return torch.where(pixels, values, 0.0).sum() / pixels.sum().clamp(min=1)


def channel_medians(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Return the median of the observed `values` (T, C, Y, X) of each channel, (C, 1, 1)."""
    known = torch.where(observed, values, torch.nan).movedim(1, 0).flatten(1).cpu()  # MPS has none
    return known.nanmedian(dim=1).values[:, None, None].to(values.device)


def normalized_convolution(
    values: torch.Tensor, weights: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Return `values` / `weights` (..., Y, X) where `known`, elsewhere their ratio over 5 x 5 pixels.

    It is 0 far from any weight.
    """
    line = _binomial(values.device)
    planes = torch.stack((values, weights)).reshape(-1, 1, *values.shape[-2:])
    planes = torch.nn.functional.conv2d(planes, line[None, None, :, None], padding=(2, 0))
    planes = torch.nn.functional.conv2d(planes, line[None, None, None, :], padding=(0, 2))
    numerator, denominator = planes.reshape(2, *values.shape)
    smooth = numerator / denominator.maximum((1e-3 * weights.max()).clamp(min=1e-12))
    return torch.where(known, values / torch.where(known, weights, 1.0), smooth)


@lru_cache(maxsize=4)
def _binomial(device: torch.device) -> torch.Tensor:
    """Binomial weights, kept on the device: to copy them there would make each step wait."""
    return torch.tensor([1, 4, 6, 4, 1], dtype=torch.float32, device=device) / 16


def area_mean(planes: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """Return planes (N, C, Y, X) averaged over the pixels of a coarser grid with these `sides`."""
    averaged: torch.Tensor = torch.nn.functional.interpolate(planes, size=sides, mode="area")
    return averaged


def gaussian_blur(planes: torch.Tensor, sigma: float, *, squared: bool = False) -> torch.Tensor:
    """Return planes (..., Y, X) convolved with a Gaussian of standard deviation `sigma` [pixel].

    With `squared`, with the square of that kernel: so the variance of white noise is propagated.
    """
    half = round(3 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
    line /= line.sum()
    weights = (line**2 if squared else line).tolist()
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    for axis, padding in ((-2, (0, 0, half, half)), (-1, (half, half, 0, 0))):
        number = flat.shape[axis]
        wide = torch.nn.functional.pad(flat, padding, mode="replicate")
        flat = weights[half] * wide.narrow(axis, half, number)
        for at in range(half):  # on a CPU a sum of shifts takes a fifth of the time of a convolution
            for start in (at, 2 * half - at):
                flat.add_(wide.narrow(axis, start, number), alpha=weights[at])
    return flat.reshape(planes.shape)
