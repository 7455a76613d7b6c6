"""The guide: another image of the same scene, whose edges the result takes over."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.torch_import import torch
from napari_dip.physics.registration import edge_map, register
from napari_dip.prior.inputs.base import InputContext, InputSettings


class Guide(InputSettings):
    """A sharper or less noisy image of the scene: with flash, in another band, of another channel.

    Each of its channels is scaled to mean 0 and standard deviation 0.1. What the guide does not show has
    to come from the network alone.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 4.6 (flash/no-flash).
    """

    kind: Literal["guide"] = "guide"
    auxiliary: ClassVar[tuple[str, ...]] = ("guide",)
    misregistration: Literal["raise", "correct", "ignore"] = "raise"
    """What to do if the guide is clearly shifted against the image: raise an error, correct the shift,
    or ignore it and trust that both are registered."""
    tolerance: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Largest shift at which they count as registered. [pixel]"""

    @property
    def supports_tiling(self) -> bool:
        return self.misregistration == "ignore"  # the shift is measured on the whole guide

    def make(self, context: InputContext, generator: torch.Generator) -> torch.Tensor:
        if "guide" not in context.data.auxiliary:
            raise ObservationError("there is no guide: choose the image that guides the restoration")
        guide = context.data.auxiliary["guide"][0].astype(float)
        size = tuple(edge.stop - edge.start for edge in context.window)
        if guide.shape[-2:] != size:
            raise ObservationError(
                f"the guide has {guide.shape[-1]} x {guide.shape[-2]} pixels and the restored image"
                f" {size[1]} x {size[0]}: crop or resample the guide to the grid of the image"
            )
        if not np.nanmax(guide) > np.nanmin(guide):
            raise ObservationError("the guide is constant: choose one that shows the scene")
        if self.misregistration != "ignore":
            guide = self._register(guide, context.data.y[0])
        guide = _fill_with_medians(guide)
        mean, std = guide.mean((1, 2))[:, None, None], guide.std((1, 2))[:, None, None]
        z = 0.1 * (guide - mean) / np.where(std > 0, std, 1)
        rows, columns = context.window
        height, width = (side * context.downsampling for side in context.shape)
        margins = (
            (0, 0),
            (rows.start, height - rows.stop),
            (columns.start, width - columns.stop),
        )
        padded = torch.from_numpy(np.pad(z, margins, mode="symmetric").astype(np.float32))[None]
        if context.downsampling == 1:
            return padded
        return torch.nn.functional.avg_pool2d(padded, context.downsampling)

    def _register(self, guide: NDArray[np.float64], y: FloatArray) -> NDArray[np.float64]:
        """The guide, registered to `y` if the settings say so; `y` may have fewer pixels."""
        from skimage.transform import resize

        moving, fixed = edge_map(np.asarray(guide, np.float32)), edge_map(y)
        if fixed.shape != moving.shape:
            fixed = resize(fixed, moving.shape, order=1)
        registration = register(fixed, moving, self.tolerance)
        shift = registration.shift
        if np.abs(shift).max() <= self.tolerance or not registration.is_sure:
            return guide
        if self.misregistration == "raise":
            raise ObservationError(
                f"the guide is shifted by {-shift[1]:+.1f} pixels in x and {-shift[0]:+.1f} in y against"
                " the image: register it, or set network_input.misregistration to correct or ignore"
            )
        from scipy.ndimage import shift as shift_image

        filled = _fill_with_medians(guide)
        return np.array([shift_image(channel, shift, order=3, mode="nearest") for channel in filled])


def _fill_with_medians(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """`image` (C, Y, X) with the median of each channel where it is not finite."""
    medians = np.nan_to_num([np.nanmedian(c) if np.isfinite(c).any() else 0 for c in image])
    return np.where(np.isfinite(image), image, medians[:, None, None])
