"""The one entry point: a recipe and an observation in, a run to read from, a result at its end."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from napari_dip.compute import memory_errors_explained
from napari_dip.observation import Floats, Observation
from napari_dip.prior import Prior
from napari_dip.problem import Problem
from napari_dip.recipe import Recipe
from napari_dip.result import History, Iterate, Result, Wish, blank
from napari_dip.solve import Solution, Tick, solve
from napari_dip.torch_import import torch

Run = Generator[Iterate, Wish | None, Result]


def restore(recipe: Recipe, observation: Observation, *, snapshot_every: int | None = None) -> Run:
    """Restore `observation` by `recipe`, as a generator that the reader drives.

    Channels are restored jointly, frames (T and Z) one after another with the same seed.

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
    frames = list(observation.frames())
    image, residual = blank(observation.y.shape), blank(observation.y.shape)
    histories: list[History] = []
    sigmas: list[list[float | None]] = []
    noise_origin = ""
    finished = False

    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)

    with memory_errors_explained(device):
        for number, ((t, z), frame) in enumerate(frames):
            if finished:
                empty = np.zeros(0, np.float32)
                histories.append(History(empty, empty, 0, "not restored: the run was finished before"))
                continue
            here = np.s_[t, :, z]
            fit = _fit(recipe, frame, device, snapshot_every)
            wish: Wish | None = None
            while True:
                try:
                    tick = fit.send(wish)
                except StopIteration as end:
                    solution, problem = end.value
                    break
                preview = None
                if tick.image is not None:
                    image[here] = _with_observed(recipe, frame, tick.image)
                    preview = observation.as_input(image)
                wish = yield Iterate(
                    step=tick.step,
                    steps=recipe.solver.max_steps,
                    frame=number,
                    frames=len(frames),
                    loss=tick.loss,
                    statistic=tick.statistic,
                    seconds=time.monotonic() - started,
                    image=preview,
                )
                finished = finished or bool(wish and wish.finish)
            image[here] = _with_observed(recipe, frame, solution.x.cpu().numpy())
            residual[here] = problem.residual(solution.x).cpu().numpy()
            noise_origin = problem.likelihood.origin
            sigmas.append([_number(channel) for channel in problem.likelihood.sigma])
            histories.append(
                History(solution.loss, solution.statistic, solution.chosen, solution.reason)
            )
            del fit, solution, problem

    return Result(
        image=observation.as_input(image),
        filled=observation.as_input(~observation.observed),
        residual=observation.as_input(residual),
        axes=observation.axes,
        history=tuple(histories),
        provenance={
            "recipe": recipe.model_dump(mode="json"),
            "input": {"path": observation.header.path, "sha256": observation.digest()},
            "noise": {"sigma": sigmas, "origin": noise_origin},
            "chosen": [history.chosen for history in histories],
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
        header=observation.header,
    )


def drain(run: Run) -> Result:
    """The result of a run that nobody watches."""
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result


def _fit(
    recipe: Recipe, frame: Observation, device: torch.device, snapshot_every: int | None
) -> Generator[Tick, Wish | None, tuple[Solution, Problem]]:
    generator = torch.Generator().manual_seed(recipe.seed)
    problem = Problem.of(frame, recipe.operator, recipe.noise, device=device)
    watch = recipe.stopping.watch(problem, generator)
    prior = Prior(
        watch.fitted,
        recipe.network,
        recipe.code,
        recipe.output,
        precision=recipe.compute.resolve_precision(device),
        generator=generator,
    )
    solution = yield from solve(prior, watch, recipe.solver, snapshot_every=snapshot_every)
    return solution, problem


def _number(sigma: Floats) -> float | None:
    """The median noise of a channel, None where nothing of it is observed."""
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None


def _with_observed(recipe: Recipe, frame: Observation, x: Floats) -> Floats:
    """`x`, with the observed pixels put back where the recipe says so."""
    if not recipe.keep_observed or recipe.operator.kind != "identity":
        return x
    return np.where(frame.observed[0, :, 0], frame.y[0, :, 0], x)
