"""Small bright sources in an image that is empty for the most part: stars, spots, beads."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur

TOP_HAT_PX, SOURCE_RIM_PX = (
    15,
    4,
)  # a source's greatest width, and how far its light reaches beyond its core. [pixel]
# An image is empty where its spread is less than that part of the noise, and crowded where so much of
# it is near a source: photographs are neither, star fields are empty.
MAX_EMPTY_SPREAD, MAX_SOURCE_COVERAGE = 0.35, 0.3
MIN_PEAK_SIGMAS = (
    0.5  # noise sigmas: what is higher than that above its surroundings is looked for in every fit
)
MIN_PEAK_SHARE = 0.5  # a source is in a fit that shows so much of its height


def white_top_hat(x: torch.Tensor) -> torch.Tensor:
    """How far each pixel of `x` (C, H, W) is above the surroundings of what is narrow (a top hat)."""
    return x - max_filter(-max_filter(-x, TOP_HAT_PX), TOP_HAT_PX)


def max_filter(planes: torch.Tensor, side: int) -> torch.Tensor:
    """The greatest value in a square about each pixel of planes (C, H, W)."""
    return torch.nn.functional.max_pool2d(planes, side, stride=1, padding=side // 2)


def source_weights(x: torch.Tensor, noise: torch.Tensor, observed: torch.Tensor) -> torch.Tensor | None:
    """1 near sources higher than the `noise` of a pixel, falling to 0; None in other images.

    Parameters
    ----------
    x, noise, observed : (C, H, W) tensors
        The image, the noise of its pixels, and which are observed.
    """
    usual = noise[torch.isfinite(noise) & (noise > 0)].median()
    middle = x.flatten(1).median(dim=1).values[:, None, None]
    spread = 1.4826 * (x - middle).abs().median()
    core = (white_top_hat(x) > noise).any(dim=0, keepdim=True) & observed.all(dim=0, keepdim=True)
    near = gaussian_blur(max_filter(core.to(x.dtype), 2 * SOURCE_RIM_PX + 1), SOURCE_RIM_PX / 2)
    empty = spread <= MAX_EMPTY_SPREAD * usual and near.mean() <= MAX_SOURCE_COVERAGE
    return near if empty and core.any() else None


def unreproduced_sources(
    x: torch.Tensor, noise: torch.Tensor, observed: torch.Tensor, fits: list[torch.Tensor], most: float
) -> torch.Tensor:
    """Places (N, 2) of sources of `x` that are in fewer than the part `most` of the `fits`.

    A deep image prior may draw a small source where there is noise; another network with another code
    does not draw the same one.

    Parameters
    ----------
    x, noise, observed : (C, H, W) tensors
        The mean of the fits, the noise of its pixels, and which are observed.
    fits : list of (C, H, W) tensors
        The `heights` of each.
    most : float
        Part of the fits.
    """
    none = torch.zeros((0, 2), dtype=torch.long)
    if not fits or source_weights(x, noise, observed) is None:
        return none
    height = white_top_hat(x) / noise
    peaks = (height > MIN_PEAK_SIGMAS) & (height == max_filter(height, 5)) & observed
    found = torch.stack([max_filter(fit.to(x), 3) / noise >= MIN_PEAK_SHARE * height for fit in fits])
    rare = (peaks & (found.float().mean(dim=0) < most)).any(dim=0)
    return rare.nonzero().cpu()
