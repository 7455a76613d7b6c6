"""Many files, one recipe: jobs made of text, for any executor, that may be run again after anything."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    wait,
)
from pathlib import Path

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ReadError, RestorationError
from napari_dip.core.observation import Observation
from napari_dip.io import (
    read,
    read_provenance,
    write,
)
from napari_dip.io.atomic import remove_partial_files
from napari_dip.run.batch.executors import Workers
from napari_dip.run.batch.job import Job, JobResult, failed_job
from napari_dip.run.recipe import Recipe

SIGMA_CROP_PX = 2048  # pixels along each side of what tells the noise before and after
POLL_INTERVAL_S = 0.2  # seconds between two looks whether to stop


def run_job(job: Job) -> JobResult:
    """Restore and write, or skip what is there already; a failure is a row too.

    A target counts as done where it carries the same recipe and the digest of the same data.
    """
    try:
        observation, recipe = job.observation(), Recipe.from_json(job.recipe)
        done = _is_done(job, recipe, observation)
        if not done:
            from napari_dip.run.restoration import drain, restore

            job.check()
            remove_partial_files(Path(job.target))
            result = drain(restore(recipe, observation))
            write(job.target, result, overwrite=job.overwrite, dtype=job.dtype)
        made = read_provenance(job.target)
        return JobResult(
            job.sources[0],
            job.target,
            "skipped" if done else "restored",
            made.get("reason", ""),
            made.get("steps", 0),
            _sigma_of(observation.y),
            _sigma_of(read(job.target).y),
            made.get("seconds", float("nan")),
        )
    except RestorationError as error:
        return failed_job(job, str(error))
    except MemoryError:
        return failed_job(job, "the memory is full: use fewer workers, or restore a smaller crop")


def run_jobs(
    jobs: Iterable[Job],
    workers: Workers,
    at_once: int,
    *,
    stop: threading.Event | None = None,
) -> Iterator[JobResult]:
    """Perform all jobs and yield a row for each as it is done.

    Where a process dies, new ones take over. Whose fault it was cannot be told, so the jobs that were
    under way are repeated one at a time, and one whose process dies again has failed.

    Parameters
    ----------
    jobs : iterable of Job
        What to do.
    workers : callable
        Makes an executor for as long as it is entered: `local_workers`, `dask_workers`.
    at_once : int
        How many jobs the executor is given at a time; they are begun in their order.
    stop : Event, optional
        Once it is set the jobs that are under way are given up, within a moment.

    Raises
    ------
    CancelledError
        When it was stopped.
    """
    left, stop = deque(jobs), stop or threading.Event()
    while left:
        for suspect in (yield from _run_until_worker_crash(left, workers, at_once, stop)):
            if (yield from _run_until_worker_crash(deque([suspect]), workers, 1, stop)):
                why = "its process died twice: is the memory full? Use fewer workers, or a smaller crop"
                yield failed_job(suspect, why)


def _run_until_worker_crash(
    left: deque[Job], workers: Workers, at_once: int, stop: threading.Event
) -> Generator[JobResult, None, list[Job]]:
    """Take jobs from `left` until it is empty or a process dies; return those that were under way."""
    running: dict[Future[JobResult], Job] = {}
    suspects: list[Job] = []
    with workers() as executor:
        while running or (left and not suspects):
            while left and not suspects and len(running) < at_once:
                job = left.popleft()
                try:
                    running[executor.submit(run_job, job)] = job
                except BrokenExecutor:
                    suspects.append(job)
            if stop.is_set():
                raise CancelledError
            for future in wait(running, POLL_INTERVAL_S, FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    row = future.result()
                except BrokenExecutor:
                    suspects.append(job)
                    continue
                except Exception as error:  # whatever it was, the other files are still to be done
                    row = failed_job(job, repr(error))
                yield row
    return suspects


def _is_done(job: Job, recipe: Recipe, observation: Observation) -> bool:
    if not Path(job.target).exists():
        return False
    try:
        made = read_provenance(job.target)
    except ReadError:
        return False
    same_recipe = made["recipe"] == recipe.model_dump(mode="json")
    return bool(same_recipe and made.get("input", {}).get("sha256") == observation.digest())


def _sigma_of(y: FloatArray) -> float:
    """The median of the noise estimated in the middle of each plane of `y` (T, C, Z, Y, X)."""
    from napari_dip.physics.noise import estimate_sigma

    rows, columns = (
        slice(max(0, (n - SIGMA_CROP_PX) // 2), (n + SIGMA_CROP_PX) // 2) for n in y.shape[-2:]
    )
    middle = y[..., rows, columns]
    planes = middle.reshape(-1, *middle.shape[-2:])
    return float(np.median([estimate_sigma(plane) for plane in planes]))
