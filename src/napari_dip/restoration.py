"""The one entry point: a recipe and an observation in, a run to read from, a result at its end."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from napari_dip.compute import memory_errors_explained
from napari_dip.io.grid import on_finer_grid
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

    Channels are restored jointly, frames (T and Z) one after another with the same seed; an operator
    that combines exposures takes all T at once.

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
    image, filled = blank(()), np.zeros((), bool)  # their size is known with the first operator
    histories: list[History] = []
    sigmas: list[list[float | None]] = []
    remarks: list[str] = []
    consistency: list[float] = []
    noise_origin, split, zoom = "", "none", (1.0, 1.0)
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
            problem, split, fit = _begin(recipe, frame, device, snapshot_every)
            marked = problem.filled()[_shown(problem)]
            if number == 0:
                length = 1 if jointly else len(observation.y)
                shape = (length, len(marked), observation.y.shape[2], *marked.shape[1:])
                image, filled, zoom = blank(shape), np.zeros(shape, bool), problem.operator.zoom
            filled[here] = marked
            wish: Wish | None = None
            while True:
                try:
                    tick = fit.send(wish)
                except StopIteration as end:
                    solution: Solution = end.value
                    break
                preview = None
                if tick.image is not None:
                    image[here] = _kept(recipe, problem, tick.image)[_shown(problem)].cpu().numpy()
                    preview = observation.as_input(image, axes)
                wish = yield Iterate(
                    step=tick.step,
                    steps=recipe.solver.max_steps,
                    frame=number,
                    frames=len(blocks),
                    loss=tick.loss,
                    statistic=tick.statistic,
                    seconds=time.monotonic() - started,
                    image=preview,
                )
                finished = finished or bool(wish and wish.finish)
            x = _kept(recipe, problem, solution.x)
            image[here] = x[_shown(problem)].cpu().numpy()
            residual[times, :, z] = problem.residual(x).cpu().numpy()
            consistency.append(round(problem.consistency(x), 2))
            noise_origin = problem.likelihood.origin
            sigmas.append([_number(plane) for t in problem.likelihood.sigma for plane in t])
            remarks.append(problem.operator.remark)
            histories.append(
                History(solution.loss, solution.statistic, solution.chosen, solution.reason)
            )
            del fit, solution, problem

    return Result(
        image=observation.as_input(image, axes),
        filled=observation.as_input(filled, axes),
        residual=observation.as_input(residual),
        axes=axes,
        residual_axes=observation.axes,
        history=tuple(histories),
        provenance={
            "recipe": recipe.model_dump(mode="json"),
            "input": {"path": observation.header.path, "sha256": observation.digest()},
            "noise": {"sigma": sigmas, "origin": noise_origin},
            "split": split,
            "operator": {
                "remark": "; ".join(dict.fromkeys(remarks)),
                "zoom": zoom,
                "consistency_db": consistency,
            },
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


def _begin(
    recipe: Recipe, frame: Observation, device: torch.device, snapshot_every: int | None
) -> tuple[Problem, str, Generator[Tick, Wish | None, Solution]]:
    """The problem of one frame, or of several of one scene, how it is split, and the fit."""
    generator = torch.Generator().manual_seed(recipe.seed)
    problem = Problem.of(frame, recipe.operator, recipe.noise, recipe.regularisers, device=device)
    watch = recipe.stopping.watch(problem, generator)
    prior = Prior(
        watch.fitted,
        frame,
        recipe.network,
        recipe.code,
        recipe.output,
        recipe.recorruption,
        precision=recipe.compute.resolve_precision(device),
        generator=generator,
    )
    split = recipe.recorruption.chosen(problem, recipe.network.shrink)
    return problem, split, solve(prior, watch, recipe.solver, snapshot_every=snapshot_every)


def _kept(recipe: Recipe, problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """`x`, or where the recipe says so the nearest scene that explains the observed data exactly."""
    return problem.agreeing(x) if recipe.keep_observed else x


def _shown(problem: Problem) -> tuple[slice, slice, slice]:
    """Where in the scene the result lies."""
    return (slice(None), *problem.operator.window)


def _number(sigma: Floats) -> float | None:
    """The median noise of a plane, None where nothing of it is observed."""
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None
