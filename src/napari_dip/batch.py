"""Many files, one recipe: jobs made of text, for any executor, that may be run again after anything."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np

from napari_dip.errors import DeviceError, ReadError, RestoreError, SettingsError, WriteError
from napari_dip.io import (
    OTHER_TIFF_SUFFIXES,
    SUFFIXES,
    check_writable,
    file_and_extension,
    first_image,
    provenance_of,
    read,
    write,
)
from napari_dip.io.target import clear_unfinished, replacing
from napari_dip.observation import Floats, Observation
from napari_dip.recipe import Recipe

Workers: TypeAlias = "Callable[[], AbstractContextManager[Executor]]"

SUMMARY = "napari-dip-summary.csv"
JUDGED = 2048  # pixels along each side of what tells the noise before and after
TICK = 0.2  # seconds between two looks whether to stop


@dataclass(frozen=True)
class Job:
    """What one restoration needs, as text that can cross to another process or machine.

    Attributes
    ----------
    sources : tuple of str
        Input files, perhaps with an extension's name in brackets; several become frames along T.
    target : str
        The file to write.
    recipe : str
        JSON of the recipe.
    holes : str or None
        A file whose pixels other than 0 are missing.
    companions : tuple of (name, file)
        What the recipe takes besides, such as a PSF.
    overwrite : bool
        Whether a target that is there and was made otherwise may be replaced.
    flags : tuple of int or None
        Which flags of the sources' quality planes are holes; None: those of the telescope's convention.
    dtype : str
        Type of the target's pixels: float32, or one of whole numbers.
    imagej : bool
        Whether the target is to be ImageJ's own TIFF.
    """

    sources: tuple[str, ...]
    target: str
    recipe: str
    holes: str | None = None
    companions: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    flags: tuple[int, ...] | None = None
    dtype: str = "float32"
    imagej: bool = False

    def check(self) -> None:
        """Find out before the work whether the job makes sense and its target can be written.

        Raises
        ------
        SettingsError
            If the recipe does not take such a companion.
        ReadError
            If the target is one of the inputs.
        WriteError
            If it cannot be written, or exists and may not be replaced.
        """
        takes = Recipe.from_json(self.recipe).extras
        for name, file in self.companions:
            if name not in takes:
                wanted = " or ".join(f"{extra}=FILE" for extra in takes) or "nothing"
                raise SettingsError(f"--with {name}={file}: the recipe takes {wanted}")
        target = Path(self.target)
        check_writable(target, overwrite=self.overwrite, imagej=self.imagej)
        for path in (*self.sources, *filter(None, [self.holes]), *(file for _, file in self.companions)):
            source, _ = file_and_extension(path)
            if target.exists() and source.exists() and target.samefile(source):
                raise ReadError(f"{target} is an input itself; choose another name for the output")

    def observation(self) -> Observation:
        """What was measured, with its holes and companions.

        Raises
        ------
        ReadError
            If a file is not there or holds no image.
        ObservationError
            If they do not fit each other.
        """
        observation = read(*self.sources, flags=self.flags)
        if self.holes is not None:
            observation = observation.with_holes(first_image(self.holes).array)
        for name, file in self.companions:
            image = first_image(file)
            pixels = image.array if image.holes is None else np.where(image.holes, np.nan, image.array)
            observation = observation.with_extra(name, pixels, axes=image.axes)
        return observation


@dataclass(frozen=True)
class Row:
    """What became of one job: a row of the summary.

    The noise is that of the quiet parts, estimated alike in the input and in the result; in data
    units.
    """

    file: str
    output: str
    state: Literal["restored", "skipped", "failed"]
    reason: str = ""
    steps: int = 0
    noise_before: float = float("nan")
    noise_after: float = float("nan")
    seconds: float = float("nan")


def jobs_for(
    recipe: Recipe,
    inputs: Iterable[str],
    folder: Path,
    *,
    holes: str | None = None,
    companions: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    flags: tuple[int, ...] | None = None,
    dtype: str = "float32",
) -> list[Job]:
    """One job for each input, its output in `folder` under the same name.

    Parameters
    ----------
    recipe : Recipe
        What to do with all of them.
    inputs : iterable of str
        FITS and TIFF files, and folders of such files.
    folder : Path
        Where the outputs go; it is made where it is not there.
    holes, companions, overwrite, flags, dtype
        As of `Job`, for all of them.

    Raises
    ------
    ReadError
        If there is no such input, or none at all.
    WriteError
        If two inputs would be written under one name, or `folder` cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be made: {error.strerror or error}") from error
    jobs: dict[Path, Job] = {}
    for source in _files(inputs):
        target = (folder / _output_name(source)).absolute()
        if target in jobs:
            other = jobs[target].sources[0]
            raise WriteError(f"{other} and {source} would both become {target.name}; use two folders")
        if target == file_and_extension(source)[0].absolute():
            raise WriteError(f"{source} would be replaced by its own result; choose another folder")
        job = Job(
            (_absolute(source),),
            str(target),
            recipe.to_json(),
            None if holes is None else _absolute(holes),
            tuple((name, _absolute(file)) for name, file in companions),
            overwrite,
            flags,
            dtype,
        )
        jobs[target] = job
    if not jobs:
        raise ReadError("there is nothing to restore: no FITS or TIFF file in the folders given")
    return list(jobs.values())


def perform(job: Job) -> Row:
    """Restore and write, or skip what is there already; a failure is a row too.

    A target counts as done where it carries the same recipe and the digest of the same data.
    """
    try:
        observation, recipe = job.observation(), Recipe.from_json(job.recipe)
        done = _is_done(job, recipe, observation)
        if not done:
            from napari_dip.restoration import drain, restore

            job.check()
            clear_unfinished(Path(job.target))
            result = drain(restore(recipe, observation))
            write(job.target, result, overwrite=job.overwrite, dtype=job.dtype)
        made = provenance_of(job.target)
        return Row(
            job.sources[0],
            job.target,
            "skipped" if done else "restored",
            made.get("reason", ""),
            made.get("steps", 0),
            _noise(observation.y),
            _noise(read(job.target).y),
            made.get("seconds", float("nan")),
        )
    except RestoreError as error:
        return _failed(job, str(error))
    except MemoryError:
        return _failed(job, "the memory is full: use fewer workers, or restore a smaller crop")


def batch(
    jobs: Iterable[Job],
    workers: Workers,
    at_once: int,
    *,
    stop: threading.Event | None = None,
) -> Iterator[Row]:
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
        for suspect in (yield from _until_a_death(left, workers, at_once, stop)):
            if (yield from _until_a_death(deque([suspect]), workers, 1, stop)):
                why = "its process died twice: is the memory full? Use fewer workers, or a smaller crop"
                yield _failed(suspect, why)


def _until_a_death(
    left: deque[Job], workers: Workers, at_once: int, stop: threading.Event
) -> Generator[Row, None, list[Job]]:
    """Take jobs from `left` until it is empty or a process dies; return those that were under way."""
    running: dict[Future[Row], Job] = {}
    suspects: list[Job] = []
    with workers() as executor:
        while running or (left and not suspects):
            while left and not suspects and len(running) < at_once:
                job = left.popleft()
                try:
                    running[executor.submit(perform, job)] = job
                except BrokenExecutor:
                    suspects.append(job)
            if stop.is_set():
                raise CancelledError
            for future in wait(running, TICK, FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    row = future.result()
                except BrokenExecutor:
                    suspects.append(job)
                    continue
                except Exception as error:  # whatever it was, the other files are still to be done
                    row = _failed(job, repr(error))
                yield row
    return suspects


@contextmanager
def local_workers(number: int) -> Iterator[Executor]:
    """Processes on this machine that share its cores, and end with this process however it ends."""
    context = _Aside()
    line, end = context.Pipe(duplex=False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ProcessPoolExecutor(number, context, _begin, (line, max(1, cores // number)))
    try:
        yield pool
    except BaseException:
        end.close()  # at once: what is half done is done again another time
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        end.close()


class _Worker(SpawnProcess):
    """A process that knows nothing of the script which started it: that may open a window of its own."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802 - of multiprocessing
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Aside(SpawnContext):
    Process = _Worker


def _begin(line: Connection, threads: int) -> None:
    """Set up a process: its share of the cores, no Ctrl-C, and an end when nobody holds the line."""

    def wait_for_the_end() -> None:
        line.poll(None)
        os._exit(1)

    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before torch is there
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait_for_the_end, daemon=True).start()


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """The workers of a dask scheduler; where some declare a resource GPU, each job takes one.

    Parameters
    ----------
    address : str
        Such as ``tcp://host:8786``, or the name of the scheduler's JSON file.

    Raises
    ------
    SettingsError
        If dask.distributed is not installed.
    DeviceError
        If no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        need = "a scheduler needs dask.distributed: pip install 'napari-dip[batch]'"
        raise SettingsError(need) from error
    by_file = address.endswith(".json")
    try:
        if by_file:
            Path(address).open().close()  # where it is absent, the client would wait for ever
        where = {"scheduler_file" if by_file else "address": address}
        client = Client(**where, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no dask scheduler answers at {address}; start one, or leave it out"
        ) from error
    with client:
        declared = [
            worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()
        ]
        on_gpu = any("GPU" in resources for resources in declared)
        with client.get_executor(pure=False, resources={"GPU": 1} if on_gpu else None) as executor:
            yield executor


def write_summary(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows as CSV, one column for each field of `Row`.

    Raises
    ------
    WriteError
        If the folder or the disk does not allow it.
    """
    try:
        with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [field.name for field in fields(Row)])
            table.writeheader()
            for row in rows:
                values = asdict(row).items()
                table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values})
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error


def _files(inputs: Iterable[str]) -> Iterator[str]:
    for path in inputs:
        if not Path(path).is_dir():
            yield path
            continue
        for file in sorted(Path(path).iterdir()):
            if file.name.lower().endswith(SUFFIXES) and not file.name.startswith("."):
                yield str(file)


def _output_name(source: str) -> str:
    """The name of the input, in a format that can be written; its extension's name before the suffix."""
    file, extension = file_and_extension(source)
    name = file.name
    if name.lower().endswith(".fz"):
        name = name[:-3] if ".fits" in name.lower() else f"{name[:-3]}.fits"
    if name.lower().endswith(OTHER_TIFF_SUFFIXES):
        name = f"{Path(name).stem}.ome.tif"
    stem, dot, suffix = name.partition(".")
    return f"{stem}_{extension}{dot}{suffix}" if extension else name


def _absolute(source: str) -> str:
    """The same input for a process in another folder."""
    return str(Path(source).absolute())


def _is_done(job: Job, recipe: Recipe, observation: Observation) -> bool:
    if not Path(job.target).exists():
        return False
    try:
        made = provenance_of(job.target)
    except ReadError:
        return False
    same_recipe = made["recipe"] == recipe.model_dump(mode="json")
    return bool(same_recipe and made.get("input", {}).get("sha256") == observation.digest())


def _noise(y: Floats) -> float:
    """The median of the noise estimated in the middle of each plane of `y` (T, C, Z, Y, X)."""
    from napari_dip.noise import estimate_sigma

    rows, columns = (slice(max(0, (n - JUDGED) // 2), (n + JUDGED) // 2) for n in y.shape[-2:])
    middle = y[..., rows, columns]
    planes = middle.reshape(-1, *middle.shape[-2:])
    return float(np.median([estimate_sigma(plane) for plane in planes]))


def _failed(job: Job, reason: str) -> Row:
    return Row(job.sources[0], job.target, "failed", reason)
