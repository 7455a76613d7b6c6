"""A run shown in a terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from napari_dip.core.observation import Observation
from napari_dip.core.progress import Request
from napari_dip.core.result import Result
from napari_dip.run.recipe import Recipe

out = Console(highlight=False, soft_wrap=True)


def run_with_progress(recipe: Recipe, observation: Observation) -> Result:
    """Run under a progress bar; the first Ctrl-C finishes and keeps."""
    from napari_dip.run.restoration import restore

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("step {task.fields[step]}"),
        TextColumn("{task.fields[rate]:.1f} it/s, at most"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with _count_interrupts() as interrupted, Progress(*columns, console=out, transient=True) as bar:
        bar.console.print(f"{recipe.title} ... (Ctrl-C finishes and keeps)", markup=False)
        job = bar.add_task(recipe.title, total=1.0, step=0, rate=0.0)
        run, wish, steps, previous = restore(recipe, observation), None, 0, 0
        said = {""}
        while True:
            try:
                iterate = run.send(wish)
            except StopIteration as end:
                result: Result = end.value
                return result
            steps += iterate.step - (previous if iterate.step > previous else 0)
            previous = iterate.step
            rate = steps / max(iterate.seconds, 1e-9)
            if iterate.note not in said:
                bar.console.print(f"{recipe.title}: {iterate.note}", markup=False)
                said.add(iterate.note)
            bar.update(job, completed=iterate.fraction_done, step=iterate.step, rate=rate)
            wish = Request(stop=True) if interrupted else None


@contextmanager
def _count_interrupts() -> Iterator[list[int]]:
    """A list that is filled by the first Ctrl-C; the second one interrupts as usual."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
