"""The one entry point: a recipe and an observation in, a run to read from, a result at its end."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress, Request
from napari_dip.core.result import History, Result, full_nan
from napari_dip.core.torch_import import torch
from napari_dip.run.provenance import flux_change
from napari_dip.run.recipe import Recipe
from napari_dip.run.tile_planner import TilePlanner
from napari_dip.run.tiled_fit import NOT_REACHED, TiledFit, next_progress
from napari_dip.run.warm_start import WarmStart

RestorationRun = Generator[Progress, Request | None, Result]

MAX_UNREPRODUCED = 1000  # places that a file remembers


def restore(
    recipe: Recipe,
    observation: Observation,
    *,
    snapshot_every: int | None = None,
    warm_start: WarmStart | None = None,
) -> RestorationRun:
    """Restore `observation` by `recipe`, as a generator that the reader drives.

    Channels are restored jointly, frames (T and Z) one after another or together, as the recipe says;
    an operator that combines exposures takes all T at once. With several members in the ensemble each
    frame is fitted as often, and the mean is the result. A frame that is too large, or needs more
    memory than there is, is restored in crops that fade into each other; where the memory turns out to
    be full they become smaller, and at last the CPU goes on.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    observation : Observation
        What was measured.
    snapshot_every : int, optional
        Steps between iterates that surely carry an image; it changes nothing in the result.
    starts : Starts, optional
        What the fits begin with; it keeps them, so that another run may go on where this one stopped.

    Yields
    ------
    Iterate
        Several times a second. Send a `Wish` for an image or for an early end; stop asking to
        pause; `close()` to cancel. Of frames that do not fit the memory there is no image.

    Returns
    -------
    Result
        The restoration (as the value of `StopIteration`; `drain` gives it).

    Raises
    ------
    ObservationError
        If the operator lacks something in the observation.
    SettingsError
        If planes are to be restored together that the recipe combines, or lays over each other.
    DeviceError
        If the device is absent or its memory is full.
    """
    started = time.monotonic()
    drift = recipe.stack.estimate_alignment(observation)
    steady = drift.align(observation) if drift else observation
    blocks = list(recipe.stack.iter_blocks(steady, joint=recipe.operator.combines_time))
    axes = recipe.operator.result_axes(observation.axes)
    residual, noise = full_nan(steady.y.shape), full_nan(steady.y.shape)
    image = uncertainty = full_nan(())  # their size is known with the first operator
    filled = np.zeros((), bool)
    histories: list[History] = []
    scenes: list[Mapping[str, Any]] = []
    rare: list[tuple[int, ...]] = []
    means, warm_start = TilePlanner(recipe.compute.resolve_device()), warm_start or WarmStart(recipe)
    zoom = (1.0, 1.0)
    finished = False

    def as_input(planes: NDArray[Any], axes: str, zoom: tuple[float, float] = (1, 1)) -> NDArray[Any]:
        return observation.to_input_axes(drift.crop_back(planes, zoom) if drift else planes, axes)

    if recipe.compute.num_threads is not None:
        torch.set_num_threads(recipe.compute.num_threads)

    for number, ((times, depths), frame) in enumerate(blocks):
        if finished:
            histories.append(NOT_REACHED)
            continue
        here = times, slice(None), depths
        parts = TiledFit(recipe, frame, means, warm_start)
        fits = parts.run(snapshot_every)
        tick = next_progress(fits, None)
        if number == 0:
            planes = parts.scene_layout
            times_left = len(observation.y) if axes == observation.axes else 1
            sides = parts.image.planes.shape[1:]
            shape = (times_left, planes.channels, observation.y.shape[2], *sides)
            image, filled, zoom = full_nan(shape), arrays.full(shape, 0, np.bool_), parts.scale_factor
            uncertainty = full_nan(shape) if recipe.ensemble.size > 1 else image
        while tick is not None:
            preview = None
            if tick.image is not None and arrays.fits_in_memory(image.shape):
                image[here] = parts.to_canonical(parts.preview(tick.image))
                preview = as_input(image, axes, zoom)
            wish = yield Progress(
                step=tick.step,
                steps=recipe.solver.max_steps,
                block=number,
                blocks=len(blocks),
                tile=parts.number,
                tiles=len(parts.tiles),
                member=parts.block_fit.ensemble.num_fits,
                members=recipe.ensemble.size,
                loss=tick.loss,
                validation_loss=tick.score,
                seconds=time.monotonic() - started,
                note=means.note,
                image=preview,
            )
            finished = finished or bool(wish and wish.stop)
            tick = next_progress(fits, wish)
        if recipe.ensemble.size > 1:
            uncertainty[here] = parts.to_canonical(parts.uncertainty.planes)
        image[here] = parts.to_canonical(parts.image.planes)
        filled[here] = parts.to_canonical(parts.inpainted)
        residual[here] = parts.residual.planes.reshape(residual[here].shape)
        noise[here] = parts.noise_std.planes.reshape(noise[here].shape)
        histories += parts.histories
        scenes += parts.descriptions
        rare += [(times.start, depths.start, *place) for place in parts.unreproduced_sources()]

    from napari_dip.io.fits.wcs import rescale_header  # and astropy, which the dock opens without

    header = rescale_header(observation.header, zoom)
    if recipe.operator.has_complex_scene:
        header = replace(header, channels=("real", "imaginary"))
    return Result(
        image=as_input(image, axes, zoom),
        inpainted=as_input(filled, axes, zoom),
        residual=as_input(residual, observation.axes),
        noise_std=as_input(noise, observation.axes),
        uncertainty=as_input(uncertainty, axes, zoom) if recipe.ensemble.size > 1 else None,
        axes=axes,
        residual_axes=observation.axes,
        history=tuple(histories),
        provenance={
            "recipe": recipe.model_dump(mode="json"),
            "input": {"path": observation.header.path, "sha256": observation.digest()},
            "noise": {
                "sigma": [s["sigma"] for s in scenes],
                "origin": scenes[-1]["origin"],
                "residual": [s["residual"] for s in scenes],
            },
            "flux_change": None
            if recipe.operator.has_complex_scene
            else flux_change(observation, residual),
            "split": scenes[-1]["split"],
            "refinement": scenes[-1]["refinement"],
            "sources": any(s["sources"] for s in scenes),
            "operator": {
                "remark": "; ".join(dict.fromkeys(s["remark"] for s in scenes)),
                "zoom": zoom,
                "consistency_db": [s["consistency"] for s in scenes],
            },
            "ensemble": {
                "members": recipe.ensemble.size,
                "calibration": [s["calibration"] for s in scenes],
                "doubtful": rare[:MAX_UNREPRODUCED],
            },
            "chosen": [history.selected_step for history in histories],
            "steps": sum(len(history.loss) for history in histories),
            "reason": histories[-1].stop_reason,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 3),
            "device": means.device.type,
            "remark": "; ".join(filter(None, (drift.note if drift else "", means.note))),
            "precision": str(recipe.compute.resolve_precision(means.device)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "versions": {
                "napari-dip": version("napari-dip"),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        header=header,
        scale_factor=zoom,
    )


def drain(run: RestorationRun) -> Result:
    """The result of a run that nobody watches."""
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result
