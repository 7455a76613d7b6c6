"""One restoration: a recipe and an observation in, a run to iterate, a result at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ObservationError
from napari_dip.core.observation import Observation
from napari_dip.core.outside import describe_missing, restore_outside
from napari_dip.core.progress import Progress, Request
from napari_dip.core.result import History, Result, full_nan
from napari_dip.core.strength import blend, check_strength
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import FitProgress
from napari_dip.physics.stripes import Stripes, remove_stripes
from napari_dip.run.alignment import FrameAlignment
from napari_dip.run.block_report import BlockReport
from napari_dip.run.executors import Workers
from napari_dip.run.parameter_maps import with_maps
from napari_dip.run.provenance import RunRecord, collect
from napari_dip.run.recipe import Recipe
from napari_dip.run.reduction import Reduction
from napari_dip.run.restoration_run import RestorationRun
from napari_dip.run.stack import BlockSlices
from napari_dip.run.tiles.planner import TilePlanner
from napari_dip.run.tiles.tiled_fit import NOT_REACHED, TiledFit, next_progress
from napari_dip.run.warm_start import WarmStart

log = logging.getLogger(__name__)

NO_USE_OF_WORKERS = "no worker was used, because the image is not restored by one network for its parts"


def iter_restoration(
    observation: Observation,
    recipe: Recipe,
    *,
    snapshot_every: int | None = None,
    warm_start: WarmStart | None = None,
    workers: Workers | None = None,
    note: str = "",
) -> RestorationRun:
    """Restore `observation` by `recipe`, step by step.

    Channels are restored jointly, planes (T and Z) separately or jointly, as the recipe says; an
    operator that combines exposures takes all T at once. With an ensemble each block is fitted several
    times, and the mean is the result. An image that is large, or needs more memory than there is, is
    restored in tiles that are blended; if the memory turns out to be full, they become smaller, and at
    last the CPU continues.

    Parameters
    ----------
    observation : Observation
        What was measured.
    recipe : Recipe
        What to do.
    snapshot_every : int, optional
        Number of steps between reports that always carry an image; it does not change the result. An
        amortized fit has none before it is applied.
    warm_start : WarmStart, optional
        What the fits start with. It keeps them, so that another run can continue where this one stops.
    workers : callable, optional
        Makes an executor, such as `local_workers` and `dask_workers` do; its processes apply the network
        of an amortized fit to the parts of an image.
    note : str
        What else the summary should say.

    Returns
    -------
    RestorationRun
        Nothing is computed before it is iterated. Results too large for memory have no previews.

    Raises
    ------
    ObservationError
        On iteration, if the observation lacks something that the operator needs, or all is constant.
    SettingsError
        On iteration, if planes are to be restored jointly that the recipe combines or aligns.
    DeviceError
        On iteration, if the device is missing, or its memory is full.
    """

    def steps() -> Generator[Progress, Request | None, Result]:
        reduction = Reduction(observation, recipe)
        restoration = _Restoration(reduction, snapshot_every, warm_start, workers, note)
        return reduction.complete((yield from restoration.steps()))

    return RestorationRun(steps())


class _Restoration:
    """The state of a run, block after block."""

    def __init__(
        self,
        reduction: Reduction,
        snapshot_every: int | None,
        warm_start: WarmStart | None,
        workers: Workers | None,
        note: str,
    ) -> None:
        self._observation, self._recipe = reduction.observation, reduction.recipe
        self._note, self._snapshot_every, self._workers = note, snapshot_every, workers
        self._warm_start = warm_start or WarmStart(self._recipe)

    def steps(self) -> Generator[Progress, Request | None, Result]:
        """Run, and report on the way."""
        observation = self._observation
        signal = self._recipe.signal.with_protocol(observation.header, len(observation.y))
        self._recipe = recipe = self._recipe.model_copy(update={"signal": signal})
        self._start_time = time.monotonic()
        check_strength(recipe.strength, recipe.operator.kind)
        unstriped, stripes = remove_stripes(observation, recipe.noise.stripes)
        alignment = recipe.stack.estimate_alignment(unstriped)
        aligned = alignment.align(unstriped) if alignment else unstriped
        combines_time = recipe.operator.combines_time
        blocks = list(recipe.stack.iter_blocks(aligned, combines_time=combines_time))
        if all(data.is_constant for _, data in blocks):
            raise ObservationError("each plane has one value only: there is nothing to restore")
        self._planner = TilePlanner(recipe.compute.resolve_device())
        where = f"{observation.axes} of {observation.y.shape} on {self._planner.device}"
        log.info("%s: %s", recipe.title, where)
        warm_start = self._warm_start
        self._last_step = warm_start.first_step + recipe.solver.max_steps
        self._canvases = _ResultCanvases(aligned, observation, recipe, alignment, stripes)
        self._reports: list[BlockReport] = []
        histories: list[History] = []
        unreproduced: list[tuple[int, ...]] = []
        if recipe.compute.num_threads is not None:
            torch.set_num_threads(recipe.compute.num_threads)
        stopped = False
        for number, (slices, data) in enumerate(blocks):
            if stopped:
                histories.append(NOT_REACHED)
                continue
            block = TiledFit(recipe, data, self._planner, warm_start, self._workers)
            fits = block.run(self._snapshot_every)
            progress = next_progress(fits, None)
            while progress is not None:
                place = number, len(blocks)
                request = yield self._report(progress, block, slices, place)
                stopped = stopped or bool(request and request.stop)
                progress = next_progress(fits, request)
            self._canvases.put(slices, block)
            reasons = "; ".join(history.stop_reason for history in block.histories)
            log.info("block %d of %d: %s", number + 1, len(blocks), reasons or "nothing to fit")
            histories += block.histories
            self._reports += [report for _, report in block.reports]
            start = slices[0].start, slices[1].start
            unreproduced += [(*start, *place) for place in block.unreproduced_sources()]
        record = RunRecord(
            reports=self._reports,
            histories=histories,
            unreproduced_sources=unreproduced,
            scale_factor=self._canvases.scale_factor,
            notes=self._notes(stripes, alignment, warm_start),
            seconds=time.monotonic() - self._start_time,
            device=self._planner.device,
        )
        result = with_maps(self._canvases.finish(record), recipe, observation)
        result = blend(result, observation, recipe.strength)
        log.info("%s: %s", result.assessment, result.provenance.notes or "no remarks")
        return result

    def _notes(
        self, stripes: Stripes | None, alignment: FrameAlignment | None, warm_start: WarmStart
    ) -> str:
        """What was found and decided besides the fits."""
        observation, missing = self._observation, ""
        if not self._recipe.extrapolate:
            missing = describe_missing(observation.observed, observation.outside)
        notes = (
            self._note,
            stripes.note if stripes else "",
            alignment.note if alignment else "",
            self._planner.note,
            *warm_start.notes,
            warm_start.checkpoint.note,
            NO_USE_OF_WORKERS if self._workers and not warm_start.is_amortized else "",
            missing,
            *observation.header.remarks,
        )
        return "; ".join(filter(None, notes))

    def _report(
        self, progress: FitProgress, block: TiledFit, slices: BlockSlices, place: tuple[int, int]
    ) -> Progress:
        preview = None
        if progress.image is not None:
            preview = self._canvases.preview(slices, block, progress.image)
        return Progress(
            step=progress.step,
            steps=self._last_step,
            block=place[0],
            blocks=place[1],
            tile=block.number,
            tiles=block.num_tiles,
            member=block.num_fits,
            members=self._recipe.ensemble.size,
            loss=progress.loss,
            validation_loss=progress.score,
            seconds=time.monotonic() - self._start_time,
            note="; ".join(filter(None, (self._planner.note, self._warm_start.checkpoint.note))),
            image=preview,
        )


class _ResultCanvases:
    """The arrays of the result, (T, C, Z, Y, X), into which blocks are put."""

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
        self._is_allocated = False
        self.scale_factor = (1.0, 1.0)

    def _allocate(self, block: TiledFit) -> None:
        """Make the arrays on the grid of the result, which is known with the first block."""
        if self._is_allocated:
            return
        canvases, y = block.canvases, self._observation.y
        times = len(y) if self._axes == self._observation.axes else 1
        sides = canvases.image.planes.shape[1:]
        shape = (times, canvases.scene_layout.channels, y.shape[2], *sides)
        self._image, self._inpainted = full_nan(shape), arrays.full(shape, 0, np.bool_)
        self._uncertainty = full_nan(shape) if self._recipe.ensemble.size > 1 else None
        self.scale_factor, self._is_allocated = canvases.scale_factor, True

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
