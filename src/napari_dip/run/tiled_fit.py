"""The fits to one block, whole or tile by tile."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import Flags, Floats, Planes
from napari_dip.core.device import memory_errors_explained
from napari_dip.core.errors import MemoryFullError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Wish
from napari_dip.core.result import History, blank
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import Tick
from napari_dip.physics.operators import Operator
from napari_dip.run.block_fit import Scene
from napari_dip.run.recipe import Recipe
from napari_dip.run.tile_planner import Means
from napari_dip.run.tiling import Mosaic, sample
from napari_dip.run.warm_start import Starts

_EMPTY = np.zeros(0, np.float32)


NOT_REACHED = History(_EMPTY, _EMPTY, 0, "not restored: the run was finished before")


class _Parts:
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

    image: Mosaic
    uncertainty: Mosaic
    residual: Mosaic
    noise: Mosaic
    filled: Flags
    planes: Planes
    zoom: tuple[float, float]

    def __init__(self, recipe: Recipe, frame: Observation, means: Means, starts: Starts) -> None:
        self._recipe, self._frame, self._means, self._starts = recipe, frame, means, starts

    def fits(self, snapshot_every: int | None) -> Generator[Tick, Wish | None, None]:
        """Every fit to every crop; again in smaller ones where the memory is full."""
        while True:
            self.crops = self._means.plan(self._recipe, self._frame)
            self.histories: list[History] = []
            self.described: list[Mapping[str, Any]] = []
            try:
                with memory_errors_explained(self._means.device):
                    return (yield from self._in_crops(snapshot_every))
            except MemoryFullError:
                if not self._means.lessen(self.crops, self._recipe):
                    raise

    def _in_crops(self, snapshot_every: int | None) -> Generator[Tick, Wish | None, None]:
        like = None
        if len(self.crops) > 1:
            like = self._recipe.noise.likelihood(sample(self._frame, self.crops))
        for number, crop in enumerate(self.crops):
            self.number, self._crop, part = number, crop, crop.of(self._frame)
            if part.is_flat and len(self.crops) > 1:
                self._copy(part)
                continue
            self.scene = Scene(self._recipe, part, self._means.device, like)
            problem = self.scene.problem
            self._begin(problem.operator)
            marked = self.scene.shown(problem.filled())
            finish = yield from self.scene.fits(self._starts, snapshot_every)
            x, deviation = self.scene.result()
            self._add(self.scene.shown(x), self.scene.shown(deviation), marked)
            self.residual.add(crop, problem.residual(x).cpu().numpy())
            self.noise.add(crop, problem.noise(x).cpu().numpy())
            self.histories += self.scene.histories
            self.described.append({**self.scene.described(x), "crop": crop})
            if finish:
                self.histories += (len(self.crops) - number - 1) * [NOT_REACHED]
                return

    def _begin(self, operator: Operator) -> None:
        """Empty planes, once the first operator is known."""
        if self.number > 0:
            return
        times, channels, _, height, width = self._frame.y.shape
        self.zoom = operator.zoom
        self.planes = operator.planes or self._frame.planes
        zoomed = (round(self.zoom[0] * height), round(self.zoom[1] * width))
        shape = (operator.scene_shape[0], *zoomed)
        self.image, self.uncertainty = Mosaic(blank(shape), self.zoom), Mosaic(blank(shape), self.zoom)
        self.residual = Mosaic(blank((times, channels, height, width)))
        self.noise = Mosaic(blank((times, channels, height, width)))
        self.filled = arrays.full(shape, 0, np.bool_)

    def _copy(self, part: Observation) -> None:
        """A part that shows one value only, or none: there is nothing to fit, nor to make up."""
        operator = self._recipe.operator.build(part)
        self._begin(operator)
        y, observed = part.y[:, :, 0], part.observed[:, :, 0]
        if observed.any():
            zoom = [round(z) for z in self.zoom]
            seen = observed[0].repeat(zoom[0], axis=1).repeat(zoom[1], axis=2)
            x = np.full(seen.shape, y[observed][0] / operator.gain, np.float32)
            self._add(x, np.zeros_like(x), ~seen)
            self.residual.add(self._crop, np.where(observed, 0, np.nan).astype(np.float32))
            self.noise.add(self._crop, np.full(y.shape, np.nan, np.float32))

    def _add(self, x: Floats, deviation: Floats, marked: Flags) -> None:
        """What is shown of the crop that is at work."""
        self.image.add(self._crop, x)
        self.uncertainty.add(self._crop, deviation)
        self.filled[:, *self.image.place(self._crop)] |= marked

    def doubtful(self) -> list[tuple[int, int]]:
        """Rows and columns of the image where a small source is not in most of the fits."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for told in self.described:
            rows, columns = self.image.place(told["crop"])
            for y, x in told["doubtful"]:
                place = rows.start + y, columns.start + x
                found.setdefault((place[0] // 3, place[1] // 3), place)  # crops overlap
        return list(found.values())

    def unfolded(self, planes: NDArray[Any]) -> NDArray[Any]:
        """An array (C, Y, X) of the image as (T, C, Z, Y, X)."""
        return planes.reshape(*self.planes.shape, *planes.shape[1:])

    def preview(self, x: torch.Tensor) -> Floats:
        """The frame as far as it is restored, and `x` in the crop whose fit stands there."""
        return self.image.with_crop(self._crop, self.scene.shown(self.scene.preview(x)))


def _next(fits: Generator[Tick, Wish | None, None], wish: Wish | None) -> Tick | None:
    """The next tick, None after the last."""
    try:
        return fits.send(wish)
    except StopIteration:
        return None
