"""The one entry point: a recipe and an observation in, a run to read from, a result at its end."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.compute import memory_errors_explained
from napari_dip.ensemble import Members
from napari_dip.observation import Flags, Floats, Observation
from napari_dip.prior import Prior
from napari_dip.problem import Problem
from napari_dip.recipe import Recipe
from napari_dip.refinement.settings import Look
from napari_dip.result import History, Iterate, Result, Wish, blank
from napari_dip.solve import TICK, Solution, Tick, solve
from napari_dip.stopping import Watch
from napari_dip.torch_import import torch

Run = Generator[Iterate, Wish | None, Result]


def restore(recipe: Recipe, observation: Observation, *, snapshot_every: int | None = None) -> Run:
    """Restore `observation` by `recipe`, as a generator that the reader drives.

    Channels are restored jointly, frames (T and Z) one after another with the same seeds; an operator
    that combines exposures takes all T at once. With several members in the ensemble each frame is
    fitted as often, and the mean is the result.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    observation : Observation
        What was measured.
    snapshot_every : int, optional
        Steps between iterates that surely carry an image; it changes nothing in the result.

    Yields
    ------
    Iterate
        Several times a second. Send a `Wish` for an image or for an early end; stop asking to
        pause; `close()` to cancel.

    Returns
    -------
    Result
        The restoration (as the value of `StopIteration`; `drain` gives it).

    Raises
    ------
    ObservationError
        If the operator lacks something in the observation.
    DeviceError
        If the device is absent or its memory is full.
    """
    started = time.monotonic()
    device = recipe.compute.resolve_device()
    jointly = recipe.operator.joint
    blocks = list(observation.frames(jointly=jointly))
    axes = observation.axes.replace("T", "") if jointly else observation.axes
    residual = blank(observation.y.shape)
    image = uncertainty = blank(())  # their size is known with the first operator
    filled = np.zeros((), bool)
    histories: list[History] = []
    scenes: list[Mapping[str, Any]] = []
    zoom = (1.0, 1.0)
    finished = False

    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)

    with memory_errors_explained(device):
        for number, ((times, z), frame) in enumerate(blocks):
            if finished:
                empty = np.zeros(0, np.float32)
                histories.append(History(empty, empty, 0, "not restored: the run was finished before"))
                continue
            here = np.s_[times.start, :, z]
            scene = _Scene(recipe, frame, device)
            marked = scene.shown(scene.problem.filled())
            if number == 0:
                length = 1 if jointly else len(observation.y)
                shape = (length, len(marked), observation.y.shape[2], *marked.shape[1:])
                image, filled, zoom = blank(shape), np.zeros(shape, bool), scene.problem.operator.zoom
                uncertainty = blank(shape)
            filled[here] = marked
            fits = scene.fits(snapshot_every)
            wish: Wish | None = None
            while (tick := _next(fits, wish)) is not None:
                preview = None
                if tick.image is not None:
                    image[here] = scene.shown(scene.preview(tick.image))
                    preview = observation.as_input(image, axes)
                wish = yield Iterate(
                    step=tick.step,
                    steps=recipe.solver.max_steps,
                    frame=number,
                    frames=len(blocks),
                    member=scene.members.number,
                    members=recipe.ensemble.members,
                    loss=tick.loss,
                    statistic=tick.statistic,
                    seconds=time.monotonic() - started,
                    image=preview,
                )
                finished = finished or bool(wish and wish.finish)
            x = scene.kept(scene.members.mean)
            deviation, calibration = scene.uncertainty()
            image[here], uncertainty[here] = scene.shown(x), scene.shown(deviation)
            residual[times, :, z] = scene.problem.residual(x).cpu().numpy()
            histories += scene.histories
            scenes.append(scene.described(x) | {"calibration": calibration})
            del fits, scene

    from napari_dip.io.grid import on_finer_grid  # and astropy, which the dock opens without

    return Result(
        image=observation.as_input(image, axes),
        filled=observation.as_input(filled, axes),
        residual=observation.as_input(residual),
        uncertainty=observation.as_input(uncertainty, axes) if recipe.ensemble.members > 1 else None,
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
            "split": scenes[-1]["split"],
            "refinement": scenes[-1]["refinement"],
            "operator": {
                "remark": "; ".join(dict.fromkeys(s["remark"] for s in scenes)),
                "zoom": zoom,
                "consistency_db": [s["consistency"] for s in scenes],
            },
            "ensemble": {
                "members": recipe.ensemble.members,
                "calibration": [s["calibration"] for s in scenes],
            },
            "chosen": [history.chosen for history in histories],
            "steps": sum(len(history.loss) for history in histories),
            "reason": histories[-1].reason,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 3),
            "device": device.type,
            "precision": str(recipe.compute.resolve_precision(device)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "versions": {
                "napari-dip": version("napari-dip"),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        header=on_finer_grid(observation.header, zoom),
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


class _Scene:
    """One frame, or several of one scene: its problem, and the fits to it."""

    def __init__(self, recipe: Recipe, frame: Observation, device: torch.device) -> None:
        self._recipe, self._frame, self._device = recipe, frame, device
        self.problem = Problem.of(
            frame, recipe.operator, recipe.noise, recipe.regularisers, device=device
        )
        self.members = Members(self.problem)
        self.histories: list[History] = []
        self._look: Look = "none"

    def fits(self, snapshot_every: int | None) -> Generator[Tick, Wish | None, None]:
        """One fit after another, each with random numbers of its own."""
        recipe, problem = self._recipe, self.problem
        for seed in recipe.ensemble.seeds(recipe.seed):
            generator = torch.Generator().manual_seed(seed)
            watch = recipe.stopping.watch(problem, generator)
            prior = Prior(
                watch.fitted,
                self._frame,
                recipe.network,
                recipe.code,
                recipe.output,
                recipe.recorruption,
                precision=recipe.compute.resolve_precision(self._device),
                generator=generator,
            )
            found = yield from solve(prior, watch, recipe.solver, snapshot_every=snapshot_every)
            x, finish = yield from self._second_look(found, watch)
            self.members.add(x, watch)
            self.histories.append(History(found.loss, found.statistic, found.chosen, found.reason))
            if finish:
                return

    def _second_look(
        self, found: Solution, watch: Watch
    ) -> Generator[Tick, Wish | None, tuple[torch.Tensor, bool]]:
        """The scene that was found, refined where the recipe says so, and whether that shall be all."""
        refinement, kept = self._recipe.refinement, self._recipe.keep_observed
        self._look = refinement.chosen(self.problem, watch, keep_observed=kept)
        alone = self._recipe.ensemble.members == 1
        work = refinement.refined(found.x, self.problem, watch, keep_observed=kept, alone=alone)
        step, loss, statistic = len(found.loss), float(found.loss[-1]), float(found.statistic[-1])
        wish, finish, last_tick = found.wish, found.wish.finish, time.monotonic()
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value, finish
            if wish.image or time.monotonic() - last_tick >= TICK:
                last_tick = time.monotonic()
                image = found.x if wish.image else None
                wish = (yield Tick(step, loss, statistic, image)) or Wish()
                finish = finish or wish.finish

    def preview(self, x: torch.Tensor) -> torch.Tensor:
        """The mean with the fit that is under way, which stands at `x`."""
        return self.kept(self.members.mean_with(x))

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        """`x`, or where the recipe says so the nearest scene that explains the observed data exactly."""
        return self.problem.agreeing(x) if self._recipe.keep_observed else x

    def uncertainty(self) -> tuple[torch.Tensor, float | None]:
        """One standard deviation of the result's error, (C, H, W), and how it was calibrated."""
        deviation, calibration = self.members.uncertainty()
        if self._recipe.keep_observed and self.problem.operator.copies:
            noise = self.problem.noise(self.members.mean)[0]
            deviation = torch.where(self.problem.observed[0], noise, deviation)
        return deviation, calibration

    def shown(self, x: torch.Tensor | Flags) -> NDArray[Any]:
        """The part of `x` (C, H, W) where the result lies."""
        inside = x[:, *self.problem.operator.window]
        return inside if isinstance(inside, np.ndarray) else np.asarray(inside.cpu())

    def described(self, x: torch.Tensor) -> dict[str, Any]:
        """What the provenance says of this scene, restored as `x`."""
        problem, recipe = self.problem, self._recipe
        return {
            "sigma": [_number(plane) for t in problem.likelihood.sigma for plane in t],
            "origin": problem.likelihood.origin,
            "residual": round(float(problem.residual_in_noise(x)), 3),
            "split": recipe.recorruption.chosen(problem, recipe.network.shrink),
            "refinement": self._look,
            "remark": problem.operator.remark,
            "consistency": round(problem.consistency(x), 2),
        }


def _next(fits: Generator[Tick, Wish | None, None], wish: Wish | None) -> Tick | None:
    """The next tick, None after the last."""
    try:
        return fits.send(wish)
    except StopIteration:
        return None


def _number(sigma: Floats) -> float | None:
    """The median noise of a plane, None where nothing of it is observed."""
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None
