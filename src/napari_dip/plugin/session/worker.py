"""A run in the background: a generator that obeys requests and never raises an exception."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from threading import Event

from napari_dip.core.errors import RestorationError, describe_unexpected
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.plugin.preferences import checkpoints_folder
from napari_dip.plugin.session.interrupted import DESCRIPTION
from napari_dip.plugin.session.messages import IN_LOG
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.recipe import Recipe
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.warm_start import WarmStart

log = logging.getLogger(__name__)

MAX_PREVIEW_VALUES = 2**18  # of an image whose first preview takes some six seconds
PREVIEW_NOTE = "a first image, of similar patches alone"


@dataclass(frozen=True)
class Controls:
    """What the dock requests of a run; each event may be set from any thread.

    `new_observation` holds other data to fit from now on. With `leave` a run that is cancelled can be
    resumed when napari is opened again.
    """

    preview: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    leave: Event = field(default_factory=Event)
    new_observation: list[Observation] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a run ended: with a result, with an error message, or cancelled with neither.

    Another run can continue from `warm_start`.
    """

    result: Result | None = None
    error: str = ""
    warm_start: WarmStart | None = None


def run_restoration(
    recipe: Recipe,
    observation: Observation,
    controls: Controls,
    snapshot_every: int | None,
    warm_start: WarmStart,
    *,
    description: str = "",
) -> Generator[Progress, None, Outcome]:
    """Restore under the control of the dock.

    Every exception becomes an `Outcome`: superqt's workers swallow `RuntimeError`, which torch raises,
    and the dock would wait forever. The generator always returns by itself: a worker that is asked to
    quit keeps the network and its memory. What is kept of the run on disk gets the `description`;
    without one nothing is kept.
    """
    folder = checkpoints_folder() if description else None

    def start(data: Observation) -> Generator[Progress, None, Result]:
        if folder is not None:
            warm_start.checkpoint = Checkpoint.of_run(folder, recipe, data)
            warm_start.checkpoint.description = DESCRIPTION, description
        if warm_start.is_cold:
            yield from _first_preview(recipe, data)
        with iter_restoration(data, recipe, snapshot_every=snapshot_every, warm_start=warm_start) as run:
            for progress in run:
                yield progress
                if controls.stop.is_set():
                    run.stop()
                if controls.preview.is_set():
                    controls.preview.clear()
                    run.request_preview()
            return run.result

    steps = start(observation)
    try:
        while not controls.cancel.is_set():
            yield next(steps)
            while controls.pause.is_set() and not _should_exit(controls):
                controls.cancel.wait(0.02)
            if controls.new_observation:
                steps.close()
                warm_start.checkpoint.remove()
                warm_start = warm_start.restart()
                steps = start(controls.new_observation.pop())
        return Outcome()
    except StopIteration as end:
        return Outcome(result=end.value, warm_start=warm_start)
    except RestorationError as error:
        return Outcome(error=str(error))
    except Exception as error:
        log.exception("a restoration failed")
        return Outcome(error=describe_unexpected(error, where=IN_LOG))
    finally:
        steps.close()
        if not controls.leave.is_set():
            warm_start.checkpoint.remove()


def _first_preview(recipe: Recipe, data: Observation) -> Generator[Progress]:
    """Report an image of similar patches within seconds, where that is possible.

    It is for images that are denoised or inpainted by one fit, and not large.
    """
    times, channels, depths, height, width = data.y.shape
    if recipe.solver.method == "patches" or times * depths > 1:
        return
    if channels * height * width > MAX_PREVIEW_VALUES:
        return
    try:
        instant = recipe.with_quality("instant").with_settings({"ensemble.size": 1, "strength": 1})
        with iter_restoration(data, instant) as run:
            for progress in run:
                yield replace(progress, note=PREVIEW_NOTE)
        yield replace(progress, note=PREVIEW_NOTE, image=run.result.image)
    except RestorationError:  # patches cannot restore it, or the fit will say what is wrong
        return


def _should_exit(controls: Controls) -> bool:
    return controls.cancel.is_set() or controls.stop.is_set()


def in_thread(
    job: Generator[Progress, None, Outcome],
    on_progress: Callable[[Progress], None],
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Run `job` in napari's thread pool; the two callbacks are called in the main thread."""
    from napari.qt.threading import create_worker

    worker = create_worker(_consume, [job], _start_thread=False)
    # Functions of our own keep the session alive as long as the worker may call it.
    worker.yielded.connect(lambda progress: on_progress(progress))
    worker.returned.connect(lambda outcome: on_outcome(outcome))
    worker.start()


def _consume(
    only: list[Generator[Progress, None, Outcome]],
) -> Generator[Progress, None, Outcome]:
    """Take the job out of `only`: napari keeps the arguments of a worker until it closes."""
    return (yield from only.pop())
