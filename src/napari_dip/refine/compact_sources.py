"""Small bright sources in an image that is mostly empty: stars, spots, beads."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur

TOP_HAT_PX = 15  # largest width of a source
SOURCE_RIM_PX = 4  # how far its flux reaches beyond its core
# An image is empty where its spread is less than this share of the noise, and crowded where more than
# this share of it is near a source: photographs are neither, star fields are empty.
MAX_EMPTY_SPREAD, MAX_SOURCE_COVERAGE = 0.35, 0.3
MIN_PEAK_SIGMAS = 0.5  # above the surroundings: higher peaks are searched for in every fit
MIN_PEAK_SHARE = 0.5  # of its height, with which a fit shows a source


def white_top_hat(x: torch.Tensor, size: int = TOP_HAT_PX) -> torch.Tensor:
    """Return the white top-hat of `x` (C, H, W): what is narrow and brighter than its surroundings."""
    return x - max_filter(-max_filter(-x, size), size)


def max_filter(planes: torch.Tensor, size: int) -> torch.Tensor:
    """Return the maximum in a square around each pixel of planes (C, H, W); `size` is odd.

    It grows by shifts of twice the width: four for 15 pixels, which takes a twentieth of the time of
    torch's pooling.
    """
    for axis in (-2, -1):
        half = size // 2
        padding = (0, 0, half, half) if axis == -2 else (half, half)
        planes = torch.nn.functional.pad(planes, padding, value=-torch.inf)
        width = 1
        while width < size:
            shift = min(width, size - width)
            number = planes.shape[axis] - shift
            first, second = (planes.narrow(axis, start, number) for start in (0, shift))
            planes, width = torch.maximum(first, second), width + shift
    return planes


def source_weights(x: torch.Tensor, noise: torch.Tensor, observed: torch.Tensor) -> torch.Tensor | None:
    """Return weights of 1 near sources above the `noise` of a pixel, falling to 0; None in other images.

    Parameters
    ----------
    x, noise, observed : (C, H, W) tensors
        The image, the noise of its pixels, and which are observed.
    """
    median_noise = noise[torch.isfinite(noise) & (noise > 0)].median()
    level = x.flatten(1).median(dim=1).values[:, None, None]
    spread = 1.4826 * (x - level).abs().median()
    core = (white_top_hat(x) > noise).any(dim=0, keepdim=True) & observed.all(dim=0, keepdim=True)
    weights = gaussian_blur(max_filter(core.to(x.dtype), 2 * SOURCE_RIM_PX + 1), SOURCE_RIM_PX / 2)
    is_empty = spread <= MAX_EMPTY_SPREAD * median_noise and weights.mean() <= MAX_SOURCE_COVERAGE
    return weights if is_empty and core.any() else None


def unreproduced_sources(
    x: torch.Tensor,
    noise: torch.Tensor,
    observed: torch.Tensor,
    top_hats: list[torch.Tensor],
    min_fraction: float,
) -> torch.Tensor:
    """Return the places (N, 2) of sources of `x` that fewer than `min_fraction` of the fits show.

    A deep image prior may turn noise into a small source; another network with another input does not
    make the same one.

    Parameters
    ----------
    x, noise, observed : (C, H, W) tensors
        The mean of the fits, the noise of its pixels, and which are observed.
    top_hats : list of (C, H, W) tensors
        The white top-hat of each fit.
    min_fraction : float
        Of the fits.
    """
    if not top_hats or source_weights(x, noise, observed) is None:
        return torch.zeros((0, 2), dtype=torch.long)
    height = white_top_hat(x) / noise
    peaks = (height > MIN_PEAK_SIGMAS) & (height == max_filter(height, 5)) & observed
    shows = torch.stack(
        [max_filter(top_hat.to(x), 3) / noise >= MIN_PEAK_SHARE * height for top_hat in top_hats]
    )
    unreproduced = (peaks & (shows.float().mean(dim=0) < min_fraction)).any(dim=0)
    return unreproduced.nonzero().cpu()
