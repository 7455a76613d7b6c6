"""The guide: another picture of the same scene, whose edges the result takes over."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.codes.base import Canvas, CodeSettings
from napari_dip.errors import ObservationError
from napari_dip.observation import Floats
from napari_dip.torch_import import torch


class Guide(CodeSettings):
    """A sharper or less noisy picture of the scene: with flash, in another band, of another channel.

    Each of its channels is brought to mean 0 and standard deviation 0.1. What the guide does not
    show has to come from the network alone.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 4.6 (flash/no-flash).
    """

    kind: Literal["guide"] = "guide"
    extras: ClassVar[tuple[str, ...]] = ("guide",)
    registration: Literal["refuse", "shift", "trust"] = "refuse"
    """Where guide and image are shifted against each other: refuse them, shift the guide, or trust
    that they are registered."""
    tolerance: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Shift up to which they count as registered. [pixel]"""

    def image(self, canvas: Canvas, generator: torch.Generator) -> torch.Tensor:
        if "guide" not in canvas.frame.extras:
            raise ObservationError("there is no guide: choose the picture that guides the restoration")
        guide = _filled(canvas.frame.extras["guide"][0, :, 0])
        size = tuple(edge.stop - edge.start for edge in canvas.window)
        if guide.shape[-2:] != size:
            raise ObservationError(
                f"the guide is {guide.shape[-1]} x {guide.shape[-2]} pixels and the restored image"
                f" {size[1]} x {size[0]}: crop or resample the guide to the image's grid"
            )
        if self.registration != "trust" and canvas.frame.y.shape[-2:] == size:
            guide = self._registered(guide, canvas.frame.y[0, :, 0])
        mean, spread = guide.mean((1, 2), keepdims=True), guide.std((1, 2), keepdims=True)
        z = 0.1 * (guide - mean) / np.where(spread > 0, spread, 1)
        rows, columns = canvas.window
        height, width = (side * canvas.shrink for side in canvas.shape)
        margins = (
            (0, 0),
            (rows.start, height - rows.stop),
            (columns.start, width - columns.stop),
        )
        padded = torch.from_numpy(np.pad(z, margins, mode="symmetric").astype(np.float32))[None]
        return torch.nn.functional.avg_pool2d(padded, canvas.shrink) if canvas.shrink > 1 else padded

    def _registered(self, guide: Floats, y: Floats) -> Floats:
        """`guide`, moved onto `y` where that is wanted."""
        shift = _shift_between(_edges(_filled(y)), _edges(guide))
        if np.abs(shift).max() <= self.tolerance:
            return guide
        if self.registration == "refuse":
            raise ObservationError(
                f"the guide is shifted by {shift[1]:+.1f} pixels in x and {shift[0]:+.1f} in y against"
                " the image: register them, or set code.registration to shift, or to trust"
            )
        from scipy.ndimage import shift as shifted

        moved = [shifted(channel, -shift, order=3, mode="nearest") for channel in guide]
        return np.asarray(moved, np.float32)


def _filled(image: Floats) -> Floats:
    """`image` (C, Y, X) with each channel's median where nothing is known."""
    medians = np.nan_to_num([np.nanmedian(c) if np.isfinite(c).any() else 0 for c in image])
    return np.where(np.isfinite(image), image, medians[:, None, None]).astype(np.float32)


def _edges(image: Floats) -> Floats:
    """Strength of the edges, averaged over channels, which two bands have in common; (Y, X)."""
    from scipy.ndimage import gaussian_gradient_magnitude

    strength = [gaussian_gradient_magnitude(c / (c.std() or 1), 1.5) for c in image]
    edges = np.mean(strength, axis=0)
    # A few stars must not outweigh the rest.
    return np.asarray(np.minimum(edges, np.quantile(edges, 0.98)), np.float32)


def _shift_between(fixed: Floats, moving: Floats) -> np.ndarray:
    """How far `moving` lies beyond `fixed` along (y, x), in pixels."""
    from skimage.filters import window
    from skimage.registration import phase_cross_correlation

    taper = window("hann", fixed.shape)
    pair = [(edges - edges.mean()) * taper for edges in (fixed, moving)]
    found, _, _ = phase_cross_correlation(*pair, upsample_factor=10, normalization=None)
    return -np.asarray(found)
