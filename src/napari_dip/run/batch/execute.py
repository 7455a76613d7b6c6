"""Run jobs on any executor; a batch can be run again after any interruption."""

from __future__ import annotations

import logging
import math
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
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_dip.core.assessment import Assessment
from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ReadError, RestorationError, WriteError, describe_unexpected
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io import read, read_provenance
from napari_dip.io.atomic import remove_partial_files
from napari_dip.run.batch.claims import claim, is_claimed
from napari_dip.run.batch.job import Job, JobResult, failed_job
from napari_dip.run.batch.summary import write_summary
from napari_dip.run.executors import POLL_INTERVAL_S, Workers
from napari_dip.run.recipe import Recipe
from napari_dip.run.rescue import write_or_rescue

if TYPE_CHECKING:
    from napari_dip.run.checkpoint import Checkpoint
    from napari_dip.run.warm_start import WarmStart

log = logging.getLogger(__name__)

CHECKPOINTS = ".napari-dip-checkpoints"  # folder beside the results of a batch
SIGMA_CROP_PX = 2048  # side of the part in which the noise before and after is estimated
DEBUG_HINT = "napari-dip --debug run, for this file alone, shows the traceback"

_last_starts: dict[str, WarmStart] = {}  # what the next frame of a recipe starts with, in this process


def run_job(job: Job) -> JobResult:
    """Restore and write, or skip what is done already; a failure is a result, too.

    A target is done if it has the same recipe, the digest of the same data, and the data type and format
    that the job asks for. One that another process is restoring is skipped.
    """
    try:
        observation, recipe = job.observation(), Recipe.from_json(job.recipe)
        is_done = _is_done(job, recipe, observation)
        if not is_done:
            job.check()
        if not is_done or is_claimed(Path(job.target)):  # by a process that died before it was tidied up
            with claim(Path(job.target)) as owner:
                if owner and not is_done:
                    reason = f"{owner} is restoring it"
                    return JobResult(job.sources[0], job.target, "skipped", reason=reason)
                if not owner:
                    is_done = _restore_and_write(job, recipe, observation)
        provenance = read_provenance(job.target)
        return JobResult(
            job.sources[0],
            job.target,
            "skipped" if is_done else "restored",
            str(Assessment.from_dict(provenance.get("assessment"))),
            provenance.get("stop_reason", ""),
            provenance.get("steps", 0),
            _sigma_of(observation.y),
            _sigma_of(read(job.target).y),
            float(np.median(np.array(provenance.get("noise", {}).get("residual", math.nan), float))),
            provenance.get("seconds", math.nan),
        )
    except RestorationError as error:
        return failed_job(job, str(error))
    except MemoryError:
        return failed_job(job, "the memory is full: use fewer workers, or set compute.tile_size")
    except Exception as error:  # the other files can still be restored
        return failed_job(job, describe_unexpected(error, where=DEBUG_HINT))


def _restore_and_write(job: Job, recipe: Recipe, observation: Observation) -> bool:
    """Restore and write, unless another process has just done so; return whether it has."""
    from napari_dip.run.checkpoint import Checkpoint

    remove_partial_files(Path(job.target))
    folder = Path(job.target).parent / CHECKPOINTS
    checkpoint = Checkpoint.of_run(folder, recipe, observation)
    is_done = _is_done(job, recipe, observation)
    if not is_done:
        result = _restore(observation, recipe, checkpoint)
        options = {"overwrite": job.overwrite, "dtype": job.dtype, "format": job.format}
        write_or_rescue(job.target, result, **options)
    checkpoint.remove()
    with suppress(OSError):  # others keep theirs there
        folder.rmdir()
    return is_done


def run_jobs(
    jobs: Iterable[Job],
    workers: Workers,
    num_parallel: int,
    *,
    stop: threading.Event | None = None,
    summary: Path | None = None,
) -> Iterator[JobResult]:
    """Run all jobs, and yield the result of each as it is done and recorded.

    If a process dies, new ones replace it. As its job is unknown, all running jobs are repeated one at a
    time, and one whose process dies again has failed.

    Parameters
    ----------
    jobs : iterable of Job
        What to do.
    workers : callable
        Makes an executor, as a context manager: `local_workers`, `dask_workers`.
    num_parallel : int
        Number of jobs that the executor is given at a time; they start in their order.
    stop : Event, optional
        When it is set, running jobs are abandoned within a moment.
    summary : Path, optional
        A table that gets a row for each job as it is done, so that a process that is killed leaves it.

    Raises
    ------
    CancelledError
        If it was stopped.
    WriteError
        If the summary cannot be written.
    """
    with closing(_results(deque(jobs), workers, num_parallel, stop or threading.Event())) as results:
        for result in results:
            log.info(result.describe())
            if summary is not None:
                try:
                    write_summary(summary, [result])
                except WriteError as error:  # the folder has gone: say what became of the last file
                    raise WriteError(f"{error}; {result.describe()}") from error
            yield result


def _results(
    waiting: deque[Job], workers: Workers, num_parallel: int, stop: threading.Event
) -> Generator[JobResult, None, None]:
    while waiting:
        for suspect in (yield from _run_until_worker_crash(waiting, workers, num_parallel, stop)):
            if (yield from _run_until_worker_crash(deque([suspect]), workers, 1, stop)):
                reason = (
                    "its process died twice: is the memory full? Use fewer workers, or set"
                    " compute.tile_size"
                )
                yield failed_job(suspect, reason)


def _run_until_worker_crash(
    waiting: deque[Job], workers: Workers, num_parallel: int, stop: threading.Event
) -> Generator[JobResult, None, list[Job]]:
    """Take jobs from `waiting` until it is empty or a process dies; return those that were running."""
    running: dict[Future[JobResult], Job] = {}
    suspects: list[Job] = []
    with workers() as executor:
        while running or (waiting and not suspects):
            while waiting and not suspects and len(running) < num_parallel:
                job = waiting.popleft()
                try:
                    running[executor.submit(run_job, job)] = job
                except BrokenExecutor:
                    suspects.append(job)
            if stop.is_set():
                raise CancelledError
            for future in wait(running, POLL_INTERVAL_S, FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    suspects.append(job)
                    continue
                except Exception as error:  # whatever it is, the other files remain to be done
                    result = failed_job(job, describe_unexpected(error, where=DEBUG_HINT))
                yield result
    return suspects


def _restore(observation: Observation, recipe: Recipe, checkpoint: Checkpoint) -> Result:
    """Restore a frame, which may start with the network of the last frame in this process."""
    from napari_dip.run.restoration import iter_restoration
    from napari_dip.run.warm_start import WarmStart

    key = recipe.to_json()
    start = _last_starts.pop(key, None) or WarmStart(recipe)
    start.checkpoint = checkpoint
    result = iter_restoration(observation, recipe, warm_start=start).result
    _last_starts.clear()  # of one recipe at a time
    _last_starts[key] = start.next_frame(Path(observation.header.path).name)
    return result


def _is_done(job: Job, recipe: Recipe, observation: Observation) -> bool:
    if not Path(job.target).exists():
        return False
    try:
        provenance = read_provenance(job.target)
    except ReadError:
        return False
    stored = {"dtype": "float32", "format": "auto"} | provenance.get("stored", {})
    is_same_kind = (stored["dtype"], stored["format"]) == (str(np.dtype(job.dtype)), job.format)
    is_same_recipe = provenance["recipe"] == recipe.model_dump(mode="json")
    is_same_input = provenance.get("input", {}).get("sha256") == observation.digest()
    return bool(is_same_kind and is_same_recipe and is_same_input)


def _sigma_of(y: FloatArray) -> float:
    """The median of the noise in the center of each plane of `y` (T, C, Z, Y, X)."""
    from napari_dip.physics.noise import estimate_sigma

    rows, columns = (
        slice(max(0, (n - SIGMA_CROP_PX) // 2), (n + SIGMA_CROP_PX) // 2) for n in y.shape[-2:]
    )
    center = y[..., rows, columns]
    planes = center.reshape(-1, *center.shape[-2:])
    return float(np.median([estimate_sigma(plane) for plane in planes]))
