"""The arrays of a result, into which the blocks of a run are put."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.observation import Observation
from napari_dip.core.outside import restore_outside
from napari_dip.core.result import Result, full_nan
from napari_dip.core.torch_import import torch
from napari_dip.physics.stripes import Stripes
from napari_dip.run.alignment import FrameAlignment
from napari_dip.run.provenance import RunRecord, collect
from napari_dip.run.recipe import Recipe
from napari_dip.run.stack import BlockSlices
from napari_dip.run.tiles.tiled_fit import TiledFit


class ResultCanvases:
    """The arrays of the result, (T, C, Z, Y, X), into which blocks are put.

    Attributes
    ----------
    scale_factor : (float, float)
        Of the grid of the result, along Y and X.
    is_allocated : bool
        Whether a block has been put into them, or a preview.
    """

    def __init__(
        self,
        aligned: Observation,
        observation: Observation,
        recipe: Recipe,
        alignment: FrameAlignment | None,
        stripes: Stripes | None,
    ) -> None:
        self._observation, self._recipe = observation, recipe
        self._alignment, self._stripes = alignment, stripes
        self._axes = recipe.operator.result_axes(observation.axes)
        self._residual, self._noise = full_nan(aligned.y.shape), full_nan(aligned.y.shape)
        self.is_allocated = False
        self.scale_factor = (1.0, 1.0)

    def _allocate(self, block: TiledFit) -> None:
        """Make the arrays on the grid of the result, which is known with the first block."""
        if self.is_allocated:
            return
        canvases, y = block.canvases, self._observation.y
        times = len(y) if self._axes == self._observation.axes else 1
        sides = canvases.image.planes.shape[1:]
        shape = (times, canvases.scene_layout.channels, y.shape[2], *sides)
        self._image, self._inpainted = full_nan(shape), arrays.full(shape, 0, np.bool_)
        self._uncertainty = full_nan(shape) if self._recipe.ensemble.size > 1 else None
        self.scale_factor, self.is_allocated = canvases.scale_factor, True

    def preview(self, slices: BlockSlices, block: TiledFit, x: torch.Tensor) -> NDArray[Any] | None:
        """Return the result so far, with the scene `x` of the current fit; None if it is too large."""
        self._allocate(block)
        if not arrays.fits_in_memory(self._image.shape):
            return None
        self._image[slices[0], :, slices[1]] = block.to_canonical(block.preview(x))
        return self._to_input_axes(self._image, outside=None)

    def put(self, slices: BlockSlices, block: TiledFit) -> None:
        """Copy what came out of a block to its place."""
        self._allocate(block)
        canvases, place = block.canvases, (slices[0], slice(None), slices[1])
        if self._uncertainty is not None:
            self._uncertainty[place] = block.to_canonical(canvases.uncertainty.planes)
        self._image[place] = block.to_canonical(canvases.image.planes)
        self._inpainted[place] = block.to_canonical(canvases.inpainted)
        shape = self._residual[place].shape
        self._residual[place] = canvases.residual.planes.reshape(shape)
        self._noise[place] = canvases.noise_std.planes.reshape(shape)

    def finish(self, record: RunRecord) -> Result:
        """Return the result, with the axes of the input."""
        from napari_dip.io.fits.wcs import rescale_header  # and astropy, which is slow to import

        observation = self._observation
        header = rescale_header(observation.header, self.scale_factor)
        if self._recipe.operator.has_complex_scene:
            header = replace(header, channels=("real", "imaginary"))
        uncertainty = self._uncertainty
        self._inpainted &= np.isfinite(self._image)  # not what is as large as a tile
        return Result(
            image=self._to_input_axes(self._image, outside=None),
            inpainted=self._to_input_axes(self._inpainted, outside=False),
            residual=self._to_input_axes(self._residual, data=True, with_stripes=True),
            noise_std=self._to_input_axes(self._noise, data=True),
            uncertainty=None if uncertainty is None else self._to_input_axes(uncertainty),
            axes=self._axes,
            residual_axes=observation.axes,
            history=tuple(record.histories),
            provenance=collect(self._recipe, observation, self._residual, self._noise, record),
            header=header,
            scale_factor=self.scale_factor,
            observation=observation,
        )

    def _to_input_axes(
        self,
        planes: NDArray[Any],
        *,
        data: bool = False,
        with_stripes: bool = False,
        outside: float | None = np.nan,
    ) -> NDArray[Any]:
        """A copy with the axes of the input, of `data` or of the image, which is `outside` what the data
        show, or stays as it was. What is `with_stripes` gets back the offsets that were removed.
        """
        observation = self._observation
        axes = observation.axes if data else self._axes
        if self._alignment:
            planes = self._alignment.crop_back(planes, (1.0, 1.0) if data else self.scale_factor)
        if with_stripes and self._stripes:
            planes = self._stripes.add_to(planes)
        if not (data or observation.outside is None or self._recipe.extrapolate):
            planes = planes.copy()
            restore_outside(planes, observation.outside, outside)
        return observation.to_input_axes(planes, axes)
