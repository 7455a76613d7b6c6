"""The guide: another picture of the same scene, whose edges the result takes over."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.torch_import import torch
from napari_dip.physics.registration import edge_map, estimate_shift
from napari_dip.prior.inputs.base import InputContext, InputSettings

Doubles = NDArray[np.float64]


class Guide(InputSettings):
    """A sharper or less noisy picture of the scene: with flash, in another band, of another channel.

    Each of its channels is brought to mean 0 and standard deviation 0.1. What the guide does not
    show has to come from the network alone.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 4.6 (flash/no-flash).
    """

    kind: Literal["guide"] = "guide"
    auxiliary: ClassVar[tuple[str, ...]] = ("guide",)
    misregistration: Literal["raise", "correct", "ignore"] = "raise"
    """Where guide and image are shifted against each other: refuse them, shift the guide, or trust
    that they are registered."""
    tolerance: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Shift up to which they count as registered. [pixel]"""

    @property
    def supports_tiling(self) -> bool:
        return self.misregistration == "ignore"  # what else could tell how the whole guide lies

    def make(self, canvas: InputContext, generator: torch.Generator) -> torch.Tensor:
        if "guide" not in canvas.data.auxiliary:
            raise ObservationError("there is no guide: choose the picture that guides the restoration")
        guide = canvas.data.auxiliary["guide"][0, :, 0].astype(float)
        size = tuple(edge.stop - edge.start for edge in canvas.window)
        if guide.shape[-2:] != size:
            raise ObservationError(
                f"the guide is {guide.shape[-1]} x {guide.shape[-2]} pixels and the restored image"
                f" {size[1]} x {size[0]}: crop or resample the guide to the image's grid"
            )
        if not np.nanmax(guide) > np.nanmin(guide):
            raise ObservationError("the guide is the same everywhere: choose one that shows the scene")
        if self.misregistration != "ignore":
            guide = self._registered(guide, canvas.data.y[0, :, 0])
        guide = _filled(guide)
        mean, spread = guide.mean((1, 2))[:, None, None], guide.std((1, 2))[:, None, None]
        z = 0.1 * (guide - mean) / np.where(spread > 0, spread, 1)
        rows, columns = canvas.window
        height, width = (side * canvas.downsampling for side in canvas.shape)
        margins = (
            (0, 0),
            (rows.start, height - rows.stop),
            (columns.start, width - columns.stop),
        )
        padded = torch.from_numpy(np.pad(z, margins, mode="symmetric").astype(np.float32))[None]
        return (
            torch.nn.functional.avg_pool2d(padded, canvas.downsampling)
            if canvas.downsampling > 1
            else padded
        )

    def _registered(self, guide: Doubles, y: FloatArray) -> Doubles:
        """`guide`, moved onto `y` where that is wanted; `y` may have fewer pixels."""
        from skimage.transform import resize

        coarse = edge_map(np.asarray(guide, np.float32))
        own = edge_map(y)
        if own.shape != coarse.shape:
            own = resize(own, coarse.shape, order=1)
        shift = estimate_shift(own, coarse)
        if np.abs(shift).max() <= self.tolerance:
            return guide
        if self.misregistration == "raise":
            raise ObservationError(
                f"the guide is shifted by {-shift[1]:+.1f} pixels in x and {-shift[0]:+.1f} in y against"
                " the image: register them, or set network_input.misregistration to correct, or to trust"
            )
        from scipy.ndimage import shift as shifted

        moved = [shifted(channel, shift, order=3, mode="nearest") for channel in _filled(guide)]
        return np.array(moved)


def _filled(image: Doubles) -> Doubles:
    """`image` (C, Y, X) with each channel's median where nothing is known."""
    medians = np.nan_to_num([np.nanmedian(c) if np.isfinite(c).any() else 0 for c in image])
    return np.where(np.isfinite(image), image, medians[:, None, None])
