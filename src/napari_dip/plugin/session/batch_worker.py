"""A batch in the background: the files of a folder, or the planes of a layer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import RestorationError, describe_unexpected
from napari_dip.io import read_first_image
from napari_dip.plugin.layers.to_observation import write_planes
from napari_dip.plugin.session.messages import IN_LOG
from napari_dip.run.batch.execute import run_jobs
from napari_dip.run.batch.job import Job, JobResult
from napari_dip.run.batch.plan import plan_jobs
from napari_dip.run.batch.summary import SUMMARY
from napari_dip.run.executors import local_workers
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.layers import Image, Labels

log = logging.getLogger(__name__)

THUMBNAIL_PX = 40  # along each side


@dataclass(frozen=True)
class BatchRequest:
    """What a batch does, as entered in the dock when it was started.

    Attributes
    ----------
    recipe : Recipe
        The recipe for all images.
    folder : Path
        Folder of the images, unless there is a `layer`.
    layer, mask : Image, Labels or None
        A layer whose planes are restored, and its mask.
    output_folder : Path
        Where the results go.
    workers : int
        Number of images restored at a time.
    auxiliary : tuple of (str, str)
        Names and files of auxiliary data.
    """

    recipe: Recipe
    folder: Path
    layer: Image | None
    mask: Labels | None
    output_folder: Path
    workers: int
    auxiliary: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class JobDone:
    """The end of one job, with a thumbnail (Y, X) of its result, or None if there is no result."""

    result: JobResult
    thumbnail: NDArray[np.uint8] | None


def batch_worker(request: BatchRequest, stop: threading.Event) -> Any:
    """Return a worker of napari's thread pool, not started, that runs a batch until `stop` is set.

    It yields the list of jobs, then a `JobDone` for each, and returns a sentence if it stopped early.
    """
    from napari.qt.threading import create_worker

    return create_worker(_run_batch, request, stop, _start_thread=False)


def _run_batch(
    request: BatchRequest, stop: threading.Event
) -> Generator[list[Job] | JobDone, None, str]:
    """Yield the jobs, then the end of each; return a sentence if the batch stopped early."""
    jobs: list[Job] = []
    done = 0
    try:
        sources = [str(request.folder)]
        if request.layer is not None:
            planes = write_planes(request.layer, request.mask, request.output_folder / "frames")
            sources = [str(path) for path in planes]
        jobs = plan_jobs(request.recipe, sources, request.output_folder, auxiliary=request.auxiliary)
        yield jobs
        workers = partial(local_workers, request.workers)
        summary = request.output_folder / SUMMARY
        for result in run_jobs(jobs, workers, request.workers, stop=stop, summary=summary):
            done += 1
            yield JobDone(result, _thumbnail(result))
    except CancelledError:
        return f"Stopped: {done} of {len(jobs)} are done; press Start to do the others."
    except (RestorationError, OSError) as error:
        return str(error)
    except Exception as error:  # superqt's workers would swallow a RuntimeError
        log.exception("a batch failed")
        return describe_unexpected(error, where=IN_LOG)
    return ""


def _thumbnail(result: JobResult) -> NDArray[np.uint8] | None:
    """Return the first plane of a result, small and gray; None if the job failed."""
    if result.state == "failed":
        return None
    image = read_first_image(result.output).planes_last()
    plane = image.array.reshape(-1, *image.array.shape[-2:])[0]
    step = max(1, max(plane.shape) // THUMBNAIL_PX)
    small = plane[::step, ::step].astype(float)
    low, high = np.nanpercentile(small, (2, 99))
    gray = np.nan_to_num((small - low) / max(high - low, 1e-30))
    return np.ascontiguousarray(255 * np.clip(gray, 0, 1), np.uint8)
