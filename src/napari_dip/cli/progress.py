"""A run shown in a terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from napari_dip.cli.app import out
from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.run.executors import Workers
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari_dip.run.checkpoint import Checkpoint

LINE_EVERY_S = 60.0  # where there is no terminal, and so no bar

# What asks a run to end and keep its image: Ctrl-C, a shutdown, a terminal that closes, and the warning
# that a cluster sends before the time is up (sbatch --signal=USR1@120).
_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


def run_with_progress(
    recipe: Recipe,
    observation: Observation,
    workers: Workers | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Return the result of a run under a progress bar; the first signal to stop keeps the image.

    What is in the `checkpoint` is continued, and kept there.

    Raises
    ------
    RestorationError
        After the second one.
    """
    from napari_dip.run.restoration import iter_restoration
    from napari_dip.run.warm_start import WarmStart

    start = WarmStart(recipe, checkpoint=checkpoint)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("step {task.fields[step]}"),
        TextColumn("{task.fields[rate]:.1f} it/s, at most"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with (
        _count_interrupts() as interrupts,
        Progress(*columns, console=out, transient=True) as bar,
        iter_restoration(observation, recipe, warm_start=start, workers=workers) as run,
    ):
        bar.console.print(f"{recipe.title} ... (Ctrl-C stops and keeps the image)", markup=False)
        task = bar.add_task(recipe.title, total=1.0, step=0, rate=0.0)
        steps, previous, notes, last_line = 0, -1, {""}, 0.0
        for progress in run:
            if previous >= 0:  # the first report may be one of a run that is continued
                steps += progress.step - (previous if progress.step > previous else 0)
            previous = progress.step
            rate = steps / max(progress.seconds, 1e-9)
            if progress.note not in notes:
                bar.console.print(f"{recipe.title}: {progress.note}", markup=False)
                notes.add(progress.note)
            if not out.is_terminal and progress.seconds - last_line > LINE_EVERY_S:
                last_line = progress.seconds
                left = f"{progress.fraction_done:.0%}, step {progress.step}, {rate:.1f} it/s"
                out.print(f"{recipe.title}: {left}", markup=False)
            bar.update(task, completed=progress.fraction_done, step=progress.step, rate=rate)
            if interrupts:
                run.stop()
        return run.result


@contextmanager
def _count_interrupts() -> Iterator[list[int]]:
    """Yield a list that the first signal to stop fills; the second one interrupts."""
    interrupts: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    numbers = [getattr(signal, name) for name in _STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield interrupts
    except KeyboardInterrupt:
        raise RestorationError("interrupted twice: nothing was written") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
