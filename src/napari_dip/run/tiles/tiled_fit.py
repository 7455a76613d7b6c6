"""The restoration of one block, as a whole or tile by tile."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import BoolArray, ChannelLayout, FloatArray
from napari_dip.core.device import raising_out_of_memory
from napari_dip.core.errors import DivergenceError, InsufficientMemoryError
from napari_dip.core.fit_data import FitData
from napari_dip.core.progress import Request
from napari_dip.core.result import History, full_nan
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import FitProgress
from napari_dip.physics.noise import Likelihood
from napari_dip.physics.operators import Operator
from napari_dip.run.amortized import Member, fit_members
from napari_dip.run.block_fit import BlockFit
from napari_dip.run.block_report import BlockReport, FittedBlock
from napari_dip.run.executors import Workers
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiles.application import TileTask, apply_on_workers
from napari_dip.run.tiles.planner import DEFAULT_TILE_PX, TilePlanner
from napari_dip.run.tiles.tile import Tile, TileBlender, noise_sample, tile_grid
from napari_dip.run.warm_start import WarmStart

_EMPTY = np.zeros(0, np.float32)
NOT_REACHED = History(_EMPTY, _EMPTY, 0, "not restored: the run was stopped before")


class _Canvases:
    """The planes of a block, into which its tiles are blended.

    Attributes
    ----------
    image, uncertainty : TileBlender of (C, Y, X)
    residual, noise_std : TileBlender of (T, C, Y, X)
    inpainted : (C, Y, X) bool
    scene_layout : ChannelLayout
        What the channels of the image stand for.
    """

    def __init__(self, data: FitData, operator: Operator) -> None:
        times, channels, height, width = data.y.shape
        self.scale_factor = operator.scale_factor
        self.scene_layout: ChannelLayout = operator.scene_layout or data.channel_layout
        sides = (round(self.scale_factor[0] * height), round(self.scale_factor[1] * width))
        shape = (operator.scene_shape[0], *sides)
        self.image = TileBlender(full_nan(shape), self.scale_factor)
        self.uncertainty = TileBlender(full_nan(shape), self.scale_factor)
        self.residual = TileBlender(full_nan((times, channels, height, width)))
        self.noise_std = TileBlender(full_nan((times, channels, height, width)))
        self.inpainted = arrays.full(shape, 0, np.bool_)

    def add(
        self,
        tile: Tile,
        x: FloatArray,
        std: FloatArray,
        uncovered: BoolArray,
        residual: FloatArray,
        noise_std: FloatArray,
    ) -> None:
        """Blend in what was made of a tile."""
        self.image.add(tile, x)
        self.uncertainty.add(tile, std)
        self.residual.add(tile, residual)
        self.noise_std.add(tile, noise_std)
        self.inpainted[:, *self.image.slices(tile)] |= uncovered


class TiledFit:
    """One block, as a whole or in tiles, and the fits to it.

    Attributes
    ----------
    tiles : tuple of Tile
        In the order in which they are restored.
    number : int
        The current one.
    histories, reports
        One for each fit; one for each tile that was fitted.
    block_fit : BlockFit or None
        That of the current tile; None before the first.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: FitData,
        planner: TilePlanner,
        warm_start: WarmStart,
        workers: Workers | None = None,
    ) -> None:
        self._recipe, self._data, self._planner = recipe, data, planner
        self._warm_start, self._workers = warm_start, workers
        self._canvases: _Canvases | None = None
        self.block_fit: BlockFit | None = None
        self.tiles: tuple[Tile, ...] = ()
        self.number = 0
        self.histories: list[History] = []
        self.reports: list[tuple[Tile, BlockReport]] = []

    @property
    def canvases(self) -> _Canvases:
        """The planes; they exist as soon as the first tile has started."""
        assert self._canvases is not None
        return self._canvases

    def run(self, snapshot_every: int | None) -> Generator[FitProgress, Request | None, None]:
        """Run all fits to all tiles; start again with smaller ones if the memory is full."""
        while True:
            plan = self._planner.plan(self._recipe, self._data)
            self.tiles = plan.tiles
            self.histories, self.reports, self._canvases = [], [], None
            try:
                with raising_out_of_memory(self._planner.device):
                    if not plan.is_amortized:
                        return (yield from self._run_tiles(snapshot_every))
                    if (yield from self._run_amortized(snapshot_every)):
                        return None
            except InsufficientMemoryError:
                if not self._planner.shrink_tiles(self.tiles, self._recipe):
                    raise

    def _run_amortized(self, snapshot_every: int | None) -> Generator[FitProgress, Request | None, bool]:
        """Fit one network for all tiles, and apply it to them; return whether it passed its check."""
        height, width = self._data.y.shape[-2:]
        samples = tile_grid(height, width, DEFAULT_TILE_PX, 0)
        reference = self._recipe.noise.likelihood(noise_sample(self._data, samples))
        fitting = fit_members(
            self._recipe, self._data, reference, self._planner.device, self._warm_start
        )
        try:
            members = yield from fitting
        except DivergenceError as error:
            self._planner.give_up_amortizing(str(error))
            return False
        self.histories = [member.history for member in members]
        if self._workers is None:
            yield from self._run_tiles(snapshot_every, reference, members)
        else:
            yield from self._apply_on_workers(reference, members, self._workers)
        recipe = self._recipe
        if recipe.refinement.source_flux_correction == "auto" and not recipe.hard_data_consistency:
            self._balance_flux()
        return True

    def _balance_flux(self) -> None:
        """Add the mean residual of each channel, so that the total flux is that of the data."""
        residual, image = self.canvases.residual.planes, self.canvases.image.planes
        for channel in range(len(image)):
            mean = np.nanmean(residual[:, channel], dtype=float)
            if np.isfinite(mean):
                image[channel] += mean
                residual[:, channel] -= mean

    def _run_tiles(
        self,
        snapshot_every: int | None,
        reference: Likelihood | None = None,
        members: Sequence[Member] = (),
    ) -> Generator[FitProgress, Request | None, None]:
        """Restore one tile after another: by fits of its own, or with the networks of `members`."""
        if reference is None and len(self.tiles) > 1:
            reference = self._recipe.noise.likelihood(noise_sample(self._data, self.tiles))
        for number, tile in enumerate(self.tiles):
            self.number, part = number, tile.cut(self._data)
            if part.is_constant:
                self._copy_constant_tile(tile, part)
                continue
            self.block_fit = fit = BlockFit(self._recipe, part, self._planner.device, reference)
            self._allocate(fit.problem.operator)
            if members:
                stop = yield from fit.apply(members, (tile.rows.start, tile.columns.start))
            else:
                stop = yield from fit.run(self._warm_start, snapshot_every)
            self._add(tile, fit.result())
            if stop:
                self.histories += (len(self.tiles) - number - 1) * [NOT_REACHED]
                return

    def _apply_on_workers(
        self, reference: Likelihood, members: Sequence[Member], workers: Workers
    ) -> Generator[FitProgress, Request | None, None]:
        """Let workers apply the networks of `members` to the tiles, in any order."""
        self._allocate(self._recipe.operator.build(self.tiles[0].cut(self._data)))
        task = TileTask(self._recipe, reference, tuple(members))
        for finished in apply_on_workers(task, self._fitted_tiles(), workers):
            if finished is not None:
                self._add(*finished)
            self.number = min(len(self.reports), len(self.tiles) - 1)
            request = (yield FitProgress(*members[-1].history.last, None)) or Request()
            if request.stop:
                self.histories.append(NOT_REACHED)
                return

    def _fitted_tiles(self) -> Iterator[tuple[Tile, FitData]]:
        """The tiles with more than one value, and their data; the others are copied."""
        for tile in self.tiles:
            part = tile.cut(self._data)
            if part.is_constant:
                self._copy_constant_tile(tile, part)
            else:
                yield tile, part

    def _add(self, tile: Tile, fitted: FittedBlock) -> None:
        """Blend in what was made of a tile, and keep its report."""
        planes = fitted.x, fitted.std, fitted.uncovered, fitted.residual, fitted.noise_std
        self.canvases.add(tile, *planes)
        self.histories += fitted.histories
        self.reports.append((tile, fitted.report))

    def _allocate(self, operator: Operator) -> _Canvases:
        """The canvases, which are made when the first operator is known."""
        if self._canvases is None:
            self._canvases = _Canvases(self._data, operator)
        return self._canvases

    def _copy_constant_tile(self, tile: Tile, part: FitData) -> None:
        """Copy a tile with one value, or without data: there is nothing to fit or to inpaint."""
        operator = self._recipe.operator.build(part)
        canvases = self._allocate(operator)
        y, observed = part.y, part.observed
        if observed.any():
            down, across = (round(factor) for factor in canvases.scale_factor)
            covered = observed[0].repeat(down, axis=1).repeat(across, axis=2)
            x = np.full(covered.shape, y[observed][0] / operator.dc_gain, np.float32)
            residual = np.where(observed, 0, np.nan).astype(np.float32)
            noise = np.full(y.shape, np.nan, np.float32)
            canvases.add(tile, x, np.zeros_like(x), ~covered, residual, noise)

    def unreproduced_sources(self) -> list[tuple[int, int]]:
        """Return rows and columns of the image of small sources that most of the fits lack."""
        places: dict[tuple[int, int], tuple[int, int]] = {}
        for tile, report in self.reports:
            rows, columns = self.canvases.image.slices(tile)
            for y, x in report.unreproduced_sources:
                place = rows.start + y, columns.start + x
                places.setdefault((place[0] // 3, place[1] // 3), place)  # tiles overlap
        return list(places.values())

    @property
    def num_tiles(self) -> int:
        """Number of tiles; 1 as long as one network is fitted for all of them."""
        return len(self.tiles) if self._canvases else 1

    @property
    def num_fits(self) -> int:
        """Number of fits to the current tile that are finished."""
        return self.block_fit.ensemble.num_fits if self.block_fit else 0

    def to_canonical(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return planes (C, Y, X) of the image as (T, C, Z, Y, X)."""
        return planes.reshape(*self.canvases.scene_layout.shape, *planes.shape[1:])

    def preview(self, x: torch.Tensor) -> FloatArray:
        """Return the image so far, with `x` in the tile whose fit stands there."""
        assert self.block_fit is not None
        visible = self.block_fit.visible(self.block_fit.preview(x))
        return self.canvases.image.with_tile(self.tiles[self.number], visible)


def next_progress(
    fits: Generator[FitProgress, Request | None, None], request: Request | None
) -> FitProgress | None:
    """Return the next report, None after the last."""
    try:
        return fits.send(request)
    except StopIteration:
        return None
