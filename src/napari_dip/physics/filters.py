"""Means and smooth versions of planes that are observed in part."""

from __future__ import annotations

from napari_dip.core.torch_import import torch


def masked_mean(pixels: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mean of the `values` at some pixels; 0 where there are none."""
    return torch.where(pixels, values, 0.0).sum() / pixels.sum().clamp(min=1)


def normalized_convolution(
    values: torch.Tensor, weights: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """`values` / `weights` (..., Y, X) where `known`, else over 5 x 5 pixels; 0 far from any weight."""
    line = values.new_tensor([1, 4, 6, 4, 1]) / 16
    planes = torch.stack((values, weights)).reshape(-1, 1, *values.shape[-2:])
    planes = torch.nn.functional.conv2d(planes, line[None, None, :, None], padding=(2, 0))
    planes = torch.nn.functional.conv2d(planes, line[None, None, None, :], padding=(0, 2))
    light, weight = planes.reshape(2, *values.shape)
    around = light / weight.clamp(min=max(1e-3 * float(weights.max()), 1e-12))
    return torch.where(known, values / torch.where(known, weights, 1.0), around)


def gaussian_blur(planes: torch.Tensor, width: float, *, squared: bool = False) -> torch.Tensor:
    """Planes (..., Y, X) convolved with a Gaussian of a standard deviation of `width`, or its square."""
    half = round(3 * width)
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=planes.device) / width) ** 2)
    line /= line.sum()
    line = line**2 if squared else line
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    flat = torch.nn.functional.pad(flat, 4 * (half,), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, line[None, None, :, None])
    flat = torch.nn.functional.conv2d(flat, line[None, None, None, :])
    return flat.reshape(planes.shape)
