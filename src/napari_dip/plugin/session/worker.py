"""The run in the background: a generator that takes wishes and never lets an exception out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from threading import Event

from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress, Request
from napari_dip.core.result import Result
from napari_dip.run.recipe import Recipe
from napari_dip.run.restoration import restore
from napari_dip.run.warm_start import WarmStart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Controls:
    """What the desk wants of a run; each may be set from any thread."""

    preview: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    new_observation: list[Observation] = field(default_factory=list)
    """Other data to fit from now on."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a run ended: with a result, with an error for the person, or cancelled with neither."""

    result: Result | None = None
    error: str = ""
    warm_start: WarmStart | None = None
    """What another run may go on from."""


def run_restoration(
    recipe: Recipe,
    observation: Observation,
    controls: Controls,
    snapshot_every: int | None,
    warm_start: WarmStart,
) -> Generator[Progress, None, Outcome]:
    """Restore under the desk's control.

    Every exception becomes an `Outcome`: superqt's workers swallow `RuntimeError`, which is what
    torch raises, and the desk would wait for ever. The generator always returns by itself: a
    worker that is told to quit keeps the network and its memory.
    """
    run = restore(recipe, observation, snapshot_every=snapshot_every, warm_start=warm_start)
    wish: Request | None = None
    try:
        while not controls.cancel.is_set():
            iterate = run.send(wish)
            yield iterate
            while controls.pause.is_set() and not _should_exit(controls):
                controls.cancel.wait(0.02)
            if controls.new_observation:
                run.close()
                warm_start, wish = warm_start.restart(), None
                data = controls.new_observation.pop()
                run = restore(recipe, data, snapshot_every=snapshot_every, warm_start=warm_start)
                continue
            wish = Request(preview=controls.preview.is_set(), stop=controls.stop.is_set())
            controls.preview.clear()
        return Outcome()
    except StopIteration as end:
        return Outcome(result=end.value, warm_start=warm_start)
    except RestorationError as error:
        return Outcome(error=str(error))
    except Exception as error:
        log.exception("a restoration failed")
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return Outcome(error=f"the restoration failed ({reason}); the log has the details")
    finally:
        run.close()


def _should_exit(controls: Controls) -> bool:
    return controls.cancel.is_set() or controls.stop.is_set()


def in_thread(
    job: Generator[Progress, None, Outcome],
    on_iterate: Callable[[Progress], None],
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Drive `job` in napari's thread pool; the two callbacks come in the main thread."""
    from napari.qt.threading import create_worker

    worker = create_worker(_consume, [job], _start_thread=False)
    # Functions of our own keep the session alive as long as the worker may call it.
    worker.yielded.connect(lambda iterate: on_iterate(iterate))
    worker.returned.connect(lambda outcome: on_outcome(outcome))
    worker.start()


def _consume(
    only: list[Generator[Progress, None, Outcome]],
) -> Generator[Progress, None, Outcome]:
    """Take the job out of `only`: napari keeps a worker's arguments for the whole session."""
    return (yield from only.pop())
