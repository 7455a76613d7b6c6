"""One restoration: a recipe and an observation in, a run to iterate, a result at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator

from napari_dip.core.errors import ObservationError, RestorationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.outside import describe_missing
from napari_dip.core.progress import Progress, Request
from napari_dip.core.result import History, Result
from napari_dip.core.strength import blend, check_strength
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import FitProgress
from napari_dip.io.image import COIL_MAPS_NAME
from napari_dip.physics.stripes import Stripes, remove_stripes
from napari_dip.run.alignment import FrameAlignment
from napari_dip.run.block_report import BlockReport
from napari_dip.run.executors import Workers
from napari_dip.run.parameter_maps import with_maps
from napari_dip.run.provenance import RunRecord
from napari_dip.run.recipe import Recipe
from napari_dip.run.reduction import Reduction
from napari_dip.run.restoration_run import RestorationRun
from napari_dip.run.result_canvases import ResultCanvases
from napari_dip.run.simulation import Simulation, has_simulation
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
        check_strength(recipe.strength, recipe.operator.kind)
        if recipe.operator.has_complex_scene and observation.header.name == COIL_MAPS_NAME:
            raise ObservationError("the image is coil maps: choose the k-space, and these as coil maps")
        if recipe.compute.num_threads is not None:
            torch.set_num_threads(recipe.compute.num_threads)
        reduction = Reduction(observation, recipe)
        notes = "; ".join(filter(None, (note, reduction.note)))
        restoration = _Restoration(reduction, snapshot_every, warm_start, workers, notes)
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
        self._stopped, self._simulation_note = False, ""

    def steps(self) -> Generator[Progress, Request | None, Result]:
        """Run, and report on the way."""
        observation = self._observation
        signal = self._recipe.signal.with_protocol(observation.header, len(observation.y))
        self._recipe = recipe = self._recipe.model_copy(update={"signal": signal})
        self._start_time = time.monotonic()
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
        parts = aligned, observation, recipe, alignment, stripes
        self._canvases = ResultCanvases(*parts)
        simulation = Simulation(recipe, ResultCanvases(*parts)) if has_simulation(recipe) else None
        self._reports: list[BlockReport] = []
        histories: list[History] = []
        unreproduced: list[tuple[int, ...]] = []
        for number, (slices, data) in enumerate(blocks):
            if self._stopped:
                histories.append(NOT_REACHED)
                continue
            place = number, len(blocks)
            block = TiledFit(recipe, data, self._planner, warm_start, self._workers)
            yield from self._run(block, place, slices)
            self._canvases.put(slices, block)
            if simulation and block.reports and not self._stopped:
                yield from self._simulate(simulation, block, data, place, slices)
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
        result = with_maps(
            self._canvases.finish(record),
            recipe,
            observation,
            simulated=simulation.finish(record) if simulation else None,
            drift=max(alignment.max_shift) if alignment else 0,
        )
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
            self._simulation_note,
            *warm_start.notes,
            warm_start.checkpoint.note,
            NO_USE_OF_WORKERS if self._workers and not warm_start.is_amortized else "",
            missing,
            *observation.header.remarks,
        )
        return "; ".join(filter(None, notes))

    def _simulate(
        self,
        simulation: Simulation,
        block: TiledFit,
        data: FitData,
        place: tuple[int, int],
        slices: BlockSlices,
    ) -> Generator[Progress, Request | None, None]:
        """Fit data that are simulated from a restored block; nothing is kept of a fit that fails or is
        stopped.
        """
        try:
            fit = simulation.new_fit(block, data, place[0], self._planner)
            yield from self._run(fit, place)
        except RestorationError as error:
            self._simulation_note = f"no uncertainty of the maps, as simulated data failed: {error}"
            log.warning(self._simulation_note)
        else:
            if not self._stopped:
                simulation.canvases.put(slices, fit)

    def _run(
        self, block: TiledFit, place: tuple[int, int], slices: BlockSlices | None = None
    ) -> Generator[Progress, Request | None, None]:
        """Run the fits to a block at `slices`, or to simulated data, which are not shown."""
        fits = block.run(self._snapshot_every if slices else None)
        progress = next_progress(fits, None)
        while progress is not None:
            request = yield self._report(progress, block, place, slices)
            self._stopped = self._stopped or bool(request and request.stop)
            progress = next_progress(fits, request)

    def _report(
        self,
        progress: FitProgress,
        block: TiledFit,
        place: tuple[int, int],
        slices: BlockSlices | None,
    ) -> Progress:
        preview = None
        if slices and progress.image is not None:
            preview = self._canvases.preview(slices, block, progress.image)
        return Progress(
            step=progress.step,
            steps=self._last_step,
            block=place[0],
            blocks=place[1],
            tile=block.number,
            tiles=block.num_tiles,
            member=block.num_fits if slices else self._recipe.ensemble.size,
            members=self._recipe.ensemble.size,
            loss=progress.loss,
            validation_loss=progress.score,
            seconds=time.monotonic() - self._start_time,
            note="; ".join(filter(None, (self._planner.note, self._warm_start.checkpoint.note))),
            image=preview,
            simulations=int(has_simulation(self._recipe)),
        )
