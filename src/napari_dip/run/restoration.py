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
from napari_dip.core.progress import Iterate, Wish
from napari_dip.core.result import History, Result, blank
from napari_dip.core.torch_import import torch
from napari_dip.run.provenance import flux_change
from napari_dip.run.recipe import Recipe
from napari_dip.run.tile_planner import Means
from napari_dip.run.tiled_fit import NOT_REACHED, _next, _Parts
from napari_dip.run.warm_start import Starts

Run = Generator[Iterate, Wish | None, Result]

MOST_DOUBTFUL = 1000  # places that a file remembers


def restore(
    recipe: Recipe,
    observation: Observation,
    *,
    snapshot_every: int | None = None,
    starts: Starts | None = None,
) -> Run:
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
    drift = recipe.stack.drift(observation)
    steady = drift.laid_over(observation) if drift else observation
    blocks = list(recipe.stack.blocks(steady, joint=recipe.operator.joint))
    axes = recipe.operator.result_axes(observation.axes)
    residual, noise = blank(steady.y.shape), blank(steady.y.shape)
    image = uncertainty = blank(())  # their size is known with the first operator
    filled = np.zeros((), bool)
    histories: list[History] = []
    scenes: list[Mapping[str, Any]] = []
    rare: list[tuple[int, ...]] = []
    means, starts = Means(recipe.compute.resolve_device()), starts or Starts(recipe)
    zoom = (1.0, 1.0)
    finished = False

    def as_input(planes: NDArray[Any], axes: str, zoom: tuple[float, float] = (1, 1)) -> NDArray[Any]:
        return observation.as_input(drift.cut_out(planes, zoom) if drift else planes, axes)

    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)

    for number, ((times, depths), frame) in enumerate(blocks):
        if finished:
            histories.append(NOT_REACHED)
            continue
        here = times, slice(None), depths
        parts = _Parts(recipe, frame, means, starts)
        fits = parts.fits(snapshot_every)
        tick = _next(fits, None)
        if number == 0:
            planes = parts.planes
            times_left = len(observation.y) if axes == observation.axes else 1
            sides = parts.image.planes.shape[1:]
            shape = (times_left, planes.channels, observation.y.shape[2], *sides)
            image, filled, zoom = blank(shape), arrays.full(shape, 0, np.bool_), parts.zoom
            uncertainty = blank(shape) if recipe.ensemble.members > 1 else image
        while tick is not None:
            preview = None
            if tick.image is not None and arrays.fits_memory(image.shape):
                image[here] = parts.unfolded(parts.preview(tick.image))
                preview = as_input(image, axes, zoom)
            wish = yield Iterate(
                step=tick.step,
                steps=recipe.solver.max_steps,
                frame=number,
                frames=len(blocks),
                crop=parts.number,
                crops=len(parts.crops),
                member=parts.scene.members.number,
                members=recipe.ensemble.members,
                loss=tick.loss,
                statistic=tick.statistic,
                seconds=time.monotonic() - started,
                remark=means.remark,
                image=preview,
            )
            finished = finished or bool(wish and wish.finish)
            tick = _next(fits, wish)
        if recipe.ensemble.members > 1:
            uncertainty[here] = parts.unfolded(parts.uncertainty.planes)
        image[here] = parts.unfolded(parts.image.planes)
        filled[here] = parts.unfolded(parts.filled)
        residual[here] = parts.residual.planes.reshape(residual[here].shape)
        noise[here] = parts.noise.planes.reshape(noise[here].shape)
        histories += parts.histories
        scenes += parts.described
        rare += [(times.start, depths.start, *place) for place in parts.doubtful()]

    from napari_dip.io.fits.wcs import on_finer_grid  # and astropy, which the dock opens without

    header = on_finer_grid(observation.header, zoom)
    if recipe.operator.complex_scene:
        header = replace(header, channels=("real", "imaginary"))
    return Result(
        image=as_input(image, axes, zoom),
        filled=as_input(filled, axes, zoom),
        residual=as_input(residual, observation.axes),
        noise=as_input(noise, observation.axes),
        uncertainty=as_input(uncertainty, axes, zoom) if recipe.ensemble.members > 1 else None,
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
            "flux_change": None if recipe.operator.complex_scene else flux_change(observation, residual),
            "split": scenes[-1]["split"],
            "refinement": scenes[-1]["refinement"],
            "sources": any(s["sources"] for s in scenes),
            "operator": {
                "remark": "; ".join(dict.fromkeys(s["remark"] for s in scenes)),
                "zoom": zoom,
                "consistency_db": [s["consistency"] for s in scenes],
            },
            "ensemble": {
                "members": recipe.ensemble.members,
                "calibration": [s["calibration"] for s in scenes],
                "doubtful": rare[:MOST_DOUBTFUL],
            },
            "chosen": [history.chosen for history in histories],
            "steps": sum(len(history.loss) for history in histories),
            "reason": histories[-1].reason,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 3),
            "device": means.device.type,
            "remark": "; ".join(filter(None, (drift.remark if drift else "", means.remark))),
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
        zoom=zoom,
    )


def drain(run: Run) -> Result:
    """The result of a run that nobody watches."""
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result
