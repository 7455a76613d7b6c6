"""The fits to one block, whole or tile by tile."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import BoolArray, ChannelLayout, FloatArray
from napari_dip.core.device import raising_out_of_memory
from napari_dip.core.errors import InsufficientMemoryError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Request
from napari_dip.core.result import History, full_nan
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import FitProgress
from napari_dip.physics.operators import Operator
from napari_dip.run.block_fit import BlockFit
from napari_dip.run.recipe import Recipe
from napari_dip.run.tile_planner import TilePlanner
from napari_dip.run.tiling import TileBlender, noise_sample
from napari_dip.run.warm_start import WarmStart

_EMPTY = np.zeros(0, np.float32)


NOT_REACHED = History(_EMPTY, _EMPTY, 0, "not restored: the run was finished before")


class TiledFit:
    """One frame, or several of one scene, as a whole or in crops; and what came of the fits.

    Attributes
    ----------
    image, uncertainty : Mosaic of (C, Y, X)
        The restoration, and one standard deviation of its error.
    residual, noise : Mosaic of (T, C, Y, X)
    filled : (C, Y, X) bool
    planes : Planes
        What the channels of the image stand for.
    """

    image: TileBlender
    uncertainty: TileBlender
    residual: TileBlender
    noise_std: TileBlender
    inpainted: BoolArray
    scene_layout: ChannelLayout
    scale_factor: tuple[float, float]

    def __init__(
        self, recipe: Recipe, frame: Observation, planner: TilePlanner, warm_start: WarmStart
    ) -> None:
        self._recipe, self._frame, self._planner, self._warm_start = recipe, frame, planner, warm_start

    def run(self, snapshot_every: int | None) -> Generator[FitProgress, Request | None, None]:
        """Every fit to every crop; again in smaller ones where the memory is full."""
        while True:
            self.tiles = self._planner.plan(self._recipe, self._frame)
            self.histories: list[History] = []
            self.descriptions: list[Mapping[str, Any]] = []
            try:
                with raising_out_of_memory(self._planner.device):
                    return (yield from self._run_tiles(snapshot_every))
            except InsufficientMemoryError:
                if not self._planner.shrink_tiles(self.tiles, self._recipe):
                    raise

    def _run_tiles(self, snapshot_every: int | None) -> Generator[FitProgress, Request | None, None]:
        like = None
        if len(self.tiles) > 1:
            like = self._recipe.noise.likelihood(noise_sample(self._frame, self.tiles))
        for number, crop in enumerate(self.tiles):
            self.number, self._tile, part = number, crop, crop.cut(self._frame)
            if part.is_constant and len(self.tiles) > 1:
                self._copy_constant_tile(part)
                continue
            self.block_fit = BlockFit(self._recipe, part, self._planner.device, like)
            problem = self.block_fit.problem
            self._allocate(problem.operator)
            marked = self.block_fit.visible(problem.uncovered())
            finish = yield from self.block_fit.run(self._warm_start, snapshot_every)
            x, deviation = self.block_fit.result()
            self._add(self.block_fit.visible(x), self.block_fit.visible(deviation), marked)
            self.residual.add(crop, problem.residual(x).cpu().numpy())
            self.noise_std.add(crop, problem.noise_std(x).cpu().numpy())
            self.histories += self.block_fit.histories
            self.descriptions.append({**self.block_fit.describe(x), "crop": crop})
            if finish:
                self.histories += (len(self.tiles) - number - 1) * [NOT_REACHED]
                return

    def _allocate(self, operator: Operator) -> None:
        """Empty planes, once the first operator is known."""
        if self.number > 0:
            return
        times, channels, _, height, width = self._frame.y.shape
        self.scale_factor = operator.scale_factor
        self.scene_layout = operator.scene_layout or self._frame.channel_layout
        zoomed = (round(self.scale_factor[0] * height), round(self.scale_factor[1] * width))
        shape = (operator.scene_shape[0], *zoomed)
        self.image, self.uncertainty = (
            TileBlender(full_nan(shape), self.scale_factor),
            TileBlender(full_nan(shape), self.scale_factor),
        )
        self.residual = TileBlender(full_nan((times, channels, height, width)))
        self.noise_std = TileBlender(full_nan((times, channels, height, width)))
        self.inpainted = arrays.full(shape, 0, np.bool_)

    def _copy_constant_tile(self, part: Observation) -> None:
        """A part that shows one value only, or none: there is nothing to fit, nor to make up."""
        operator = self._recipe.operator.build(part)
        self._allocate(operator)
        y, observed = part.y[:, :, 0], part.observed[:, :, 0]
        if observed.any():
            zoom = [round(z) for z in self.scale_factor]
            seen = observed[0].repeat(zoom[0], axis=1).repeat(zoom[1], axis=2)
            x = np.full(seen.shape, y[observed][0] / operator.dc_gain, np.float32)
            self._add(x, np.zeros_like(x), ~seen)
            self.residual.add(self._tile, np.where(observed, 0, np.nan).astype(np.float32))
            self.noise_std.add(self._tile, np.full(y.shape, np.nan, np.float32))

    def _add(self, x: FloatArray, deviation: FloatArray, marked: BoolArray) -> None:
        """What is shown of the crop that is at work."""
        self.image.add(self._tile, x)
        self.uncertainty.add(self._tile, deviation)
        self.inpainted[:, *self.image.slices(self._tile)] |= marked

    def unreproduced_sources(self) -> list[tuple[int, int]]:
        """Rows and columns of the image where a small source is not in most of the fits."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for told in self.descriptions:
            rows, columns = self.image.slices(told["crop"])
            for y, x in told["doubtful"]:
                place = rows.start + y, columns.start + x
                found.setdefault((place[0] // 3, place[1] // 3), place)  # crops overlap
        return list(found.values())

    def to_canonical(self, planes: NDArray[Any]) -> NDArray[Any]:
        """An array (C, Y, X) of the image as (T, C, Z, Y, X)."""
        return planes.reshape(*self.scene_layout.shape, *planes.shape[1:])

    def preview(self, x: torch.Tensor) -> FloatArray:
        """The frame as far as it is restored, and `x` in the crop whose fit stands there."""
        return self.image.with_tile(self._tile, self.block_fit.visible(self.block_fit.preview(x)))


def next_progress(
    fits: Generator[FitProgress, Request | None, None], wish: Request | None
) -> FitProgress | None:
    """The next tick, None after the last."""
    try:
        return fits.send(wish)
    except StopIteration:
        return None
