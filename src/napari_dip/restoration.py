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

from napari_dip import arrays
from napari_dip.compute import memory_errors_explained
from napari_dip.crops import Means, Mosaic, sample
from napari_dip.errors import MemoryFullError
from napari_dip.observation import Flags, Floats, Observation, Planes
from napari_dip.operators import Operator
from napari_dip.recipe import Recipe
from napari_dip.result import History, Iterate, Result, Wish, blank
from napari_dip.scene import Scene, Starts
from napari_dip.solve import Tick
from napari_dip.torch_import import torch

Run = Generator[Iterate, Wish | None, Result]

_EMPTY = np.zeros(0, np.float32)
MOST_DOUBTFUL = 1000  # places that a file remembers
NOT_REACHED = History(_EMPTY, _EMPTY, 0, "not restored: the run was finished before")


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

    from napari_dip.io.grid import on_finer_grid  # and astropy, which the dock opens without

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


def flux_change(observation: Observation, residual: Floats) -> float | None:
    """By what part what the result predicts differs from the data's sum; None about a level of 0."""
    places = list(arrays.blocks(observation.y.shape))
    total = sum(float(np.nansum(observation.y[place], dtype=float)) for place in places)
    size = sum(float(np.nansum(np.abs(observation.y[place]), dtype=float)) for place in places)
    return -float(np.nansum(residual, dtype=float)) / total if abs(total) > 0.01 * size else None


def drain(run: Run) -> Result:
    """The result of a run that nobody watches."""
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result


class _Parts:
    """One frame, or several of one scene, as a whole or in crops; and what came of the fits.

    Attributes
    ----------
    image, uncertainty : Mosaic of (C, Y, X)
        The restoration, and one standard deviation of its error.
    residual, noise : Mosaic of (T, C, Y, X)
    filled : (C, Y, X) bool
    planes : Planes
        What the channels of the image stand for.
    """

    image: Mosaic
    uncertainty: Mosaic
    residual: Mosaic
    noise: Mosaic
    filled: Flags
    planes: Planes
    zoom: tuple[float, float]

    def __init__(self, recipe: Recipe, frame: Observation, means: Means, starts: Starts) -> None:
        self._recipe, self._frame, self._means, self._starts = recipe, frame, means, starts

    def fits(self, snapshot_every: int | None) -> Generator[Tick, Wish | None, None]:
        """Every fit to every crop; again in smaller ones where the memory is full."""
        while True:
            self.crops = self._means.plan(self._recipe, self._frame)
            self.histories: list[History] = []
            self.described: list[Mapping[str, Any]] = []
            try:
                with memory_errors_explained(self._means.device):
                    return (yield from self._in_crops(snapshot_every))
            except MemoryFullError:
                if not self._means.lessen(self.crops, self._recipe):
                    raise

    def _in_crops(self, snapshot_every: int | None) -> Generator[Tick, Wish | None, None]:
        like = None
        if len(self.crops) > 1:
            like = self._recipe.noise.likelihood(sample(self._frame, self.crops))
        for number, crop in enumerate(self.crops):
            self.number, self._crop, part = number, crop, crop.of(self._frame)
            if part.is_flat and len(self.crops) > 1:
                self._copy(part)
                continue
            self.scene = Scene(self._recipe, part, self._means.device, like)
            problem = self.scene.problem
            self._begin(problem.operator)
            marked = self.scene.shown(problem.filled())
            finish = yield from self.scene.fits(self._starts, snapshot_every)
            x, deviation = self.scene.result()
            self._add(self.scene.shown(x), self.scene.shown(deviation), marked)
            self.residual.add(crop, problem.residual(x).cpu().numpy())
            self.noise.add(crop, problem.noise(x).cpu().numpy())
            self.histories += self.scene.histories
            self.described.append({**self.scene.described(x), "crop": crop})
            if finish:
                self.histories += (len(self.crops) - number - 1) * [NOT_REACHED]
                return

    def _begin(self, operator: Operator) -> None:
        """Empty planes, once the first operator is known."""
        if self.number > 0:
            return
        times, channels, _, height, width = self._frame.y.shape
        self.zoom = operator.zoom
        self.planes = operator.planes or self._frame.planes
        zoomed = (round(self.zoom[0] * height), round(self.zoom[1] * width))
        shape = (operator.scene_shape[0], *zoomed)
        self.image, self.uncertainty = Mosaic(blank(shape), self.zoom), Mosaic(blank(shape), self.zoom)
        self.residual = Mosaic(blank((times, channels, height, width)))
        self.noise = Mosaic(blank((times, channels, height, width)))
        self.filled = arrays.full(shape, 0, np.bool_)

    def _copy(self, part: Observation) -> None:
        """A part that shows one value only, or none: there is nothing to fit, nor to make up."""
        operator = self._recipe.operator.build(part)
        self._begin(operator)
        y, observed = part.y[:, :, 0], part.observed[:, :, 0]
        if observed.any():
            zoom = [round(z) for z in self.zoom]
            seen = observed[0].repeat(zoom[0], axis=1).repeat(zoom[1], axis=2)
            x = np.full(seen.shape, y[observed][0] / operator.gain, np.float32)
            self._add(x, np.zeros_like(x), ~seen)
            self.residual.add(self._crop, np.where(observed, 0, np.nan).astype(np.float32))
            self.noise.add(self._crop, np.full(y.shape, np.nan, np.float32))

    def _add(self, x: Floats, deviation: Floats, marked: Flags) -> None:
        """What is shown of the crop that is at work."""
        self.image.add(self._crop, x)
        self.uncertainty.add(self._crop, deviation)
        self.filled[:, *self.image.place(self._crop)] |= marked

    def doubtful(self) -> list[tuple[int, int]]:
        """Rows and columns of the image where a small source is not in most of the fits."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for told in self.described:
            rows, columns = self.image.place(told["crop"])
            for y, x in told["doubtful"]:
                place = rows.start + y, columns.start + x
                found.setdefault((place[0] // 3, place[1] // 3), place)  # crops overlap
        return list(found.values())

    def unfolded(self, planes: NDArray[Any]) -> NDArray[Any]:
        """An array (C, Y, X) of the image as (T, C, Z, Y, X)."""
        return planes.reshape(*self.planes.shape, *planes.shape[1:])

    def preview(self, x: torch.Tensor) -> Floats:
        """The frame as far as it is restored, and `x` in the crop whose fit stands there."""
        return self.image.with_crop(self._crop, self.scene.shown(self.scene.preview(x)))


def _next(fits: Generator[Tick, Wish | None, None], wish: Wish | None) -> Tick | None:
    """The next tick, None after the last."""
    try:
        return fits.send(wish)
    except StopIteration:
        return None
