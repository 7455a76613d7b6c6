"""What a run will cost, and what it assumes about the noise, estimated before it starts."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.axes import SMALLEST_SIDE
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.torch_import import torch
from napari_dip.fitting.amortized import WARM_START_STEPS_SHARE
from napari_dip.fitting.stopping.base import EarlyStopping
from napari_dip.physics.operators.rigid_motion import check_frames
from napari_dip.physics.stripes import remove_stripes
from napari_dip.run.amortized import AmortizedTrial
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.reduction import reduced_recipe, typical_frame
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.simulation import has_simulation
from napari_dip.run.tiles.planner import plan_tiles, supports_tiling
from napari_dip.run.tiles.tile import Tile, noise_sample

TRIAL_SIDES_PX = (96, 192)  # of the squares on which steps are timed
TRIAL_STEPS = 5
STEPS_PER_PATIENCE = 12  # that a fit takes typically; measured: docs/benchmarks/performance.md
REFINEMENT_COST_STEPS = 70  # that take as long as the refinement
PATCHES_BYTES_PER_PIXEL = 200
APPLICATION_BYTES_PER_PIXEL = 400  # of a tile to which a network is applied
WARM_START_STEP_SHARE = 0.5  # of the steps, with the network of the tile or plane before
_TRIAL_SETTINGS = {
    "stopping.kind": "fixed",
    "solver.max_steps": TRIAL_STEPS,
    "refinement.patch_method": "none",
    "refinement.spectral_shrinkage": "off",
    "admm.max_iter": 0,
    "stack.align": "never",
    "solver.warm_start": "auto",
    "compute.tile_size": None,
    "compute.memory_limit_gb": None,
}


@dataclass(frozen=True)
class RunEstimate:
    """What is known about a run before it starts.

    Attributes
    ----------
    sigma : float
        Median standard deviation of the noise. [data units]
    sigma_text : str
        That of all planes: a number, or a range where they differ.
    source : str
        Where it comes from, and what kind of noise it is.
    device : str
        What computes.
    memory_bytes : float
        Approximate memory of a fit. [byte]
    tiles : str
        Number and size of the tiles, and why; empty if the image is not tiled.
    steps : int
        Typical number of steps of a fit. [step]
    seconds, max_seconds : float
        Typical and longest duration; NaN if it cannot be estimated. [s]
    """

    sigma: float
    sigma_text: str
    source: str
    device: str
    memory_bytes: float
    tiles: str
    steps: int
    seconds: float
    max_seconds: float


class _Cost(NamedTuple):
    memory_bytes: float
    steps: int
    seconds: float
    max_seconds: float


class RunEstimator:
    """Estimates the duration of runs from steps that were timed on this machine."""

    def __init__(self) -> None:
        self._timings: dict[Hashable, tuple[float, float]] = {}

    def estimate(
        self, recipe: Recipe, observation: Observation, *, times: int = 1, depths: int = 1
    ) -> RunEstimate:
        """Estimate the restoration of so many `times` and `depths`, of which `observation` has one.

        Times a few steps on a part of it, unless a similar run was timed before: about a second.

        Raises
        ------
        RestorationError
            If the restoration could not start.
        """
        device = recipe.compute.resolve_device()
        combines_time = recipe.operator.combines_time
        fitted = reduced_recipe(recipe)
        is_reduced = fitted is not recipe
        if is_reduced:
            check_frames(max(times, len(observation.y)))
            recipe, observation = fitted, typical_frame(observation)
        observation, _ = remove_stripes(observation, recipe.noise.stripes)
        slices, data = next(iter(recipe.stack.iter_blocks(observation, combines_time=combines_time)))
        plan = plan_tiles(recipe, data, device)
        tiles = plan.tiles
        sample = noise_sample(data, tiles) if len(tiles) > 1 else data
        noise = recipe.noise.likelihood(sample).properties
        blocks = len(list(recipe.stack.iter_slices(times, depths, combines_time=combines_time)))
        if recipe.solver.method == "patches":
            cost = self._patches_cost(recipe, observation.select_planes(*slices), tiles, blocks)
        elif plan.is_amortized:
            cost = self._amortized_cost(recipe, data, device, tiles, blocks)
        else:
            cost = self._cost(recipe, observation.select_planes(*slices), data, device, tiles, blocks)
        return RunEstimate(
            sigma=noise.median_sigma,
            sigma_text=noise.sigma_text,
            source=noise.source + ", in one frame" * is_reduced,
            device=device.type,
            memory_bytes=cost.memory_bytes,
            tiles=plan.note,
            steps=cost.steps,
            seconds=cost.seconds,
            max_seconds=cost.max_seconds,
        )

    def _cost(
        self,
        recipe: Recipe,
        part: Observation,
        data: FitData,
        device: torch.device,
        tiles: tuple[Tile, ...],
        blocks: int,
    ) -> _Cost:
        """What fits to whole images or tiles cost."""
        upsampling = _upsampling(recipe, data)
        pixels = round(max(math.prod(map(len, tile.weights)) for tile in tiles) * upsampling**2)
        steps, parts = typical_steps(recipe), len(tiles) * blocks
        is_warm = recipe.solver.warm_start != "never"
        fits = 1 + (parts - 1) * (WARM_START_STEP_SHARE if is_warm else 1.0)
        per_step = self._seconds_per_step(recipe, part, upsampling, pixels, device)
        per_step *= (recipe.ensemble.size + has_simulation(recipe)) * fits
        refinement = 0 if recipe.refinement.patch_method == "none" else REFINEMENT_COST_STEPS
        return _Cost(
            pixels * bytes_per_pixel(recipe, data.channel_layout, device),
            steps,
            per_step * (steps + refinement),
            per_step * (recipe.solver.max_steps + refinement),
        )

    def _patches_cost(
        self, recipe: Recipe, part: Observation, tiles: tuple[Tile, ...], blocks: int
    ) -> _Cost:
        """What estimates of patches cost, without a network."""
        key = "patches", part.y.shape[1], torch.get_num_threads()
        if key not in self._timings:
            sides = [arrays.central_slice(length, TRIAL_SIDES_PX[0]) for length in part.y.shape[-2:]]
            trial = part.crop(*sides)
            runs = [iter_restoration(part if trial.is_constant else trial, recipe) for _ in range(2)]
            seconds = min(run.result.provenance.seconds for run in runs)  # the first loads libraries
            self._timings[key] = 0.0, seconds / math.prod(side.stop - side.start for side in sides)
        sizes = [math.prod(map(len, tile.weights)) for tile in tiles]
        seconds = self._timings[key][1] * sum(sizes) * blocks
        return _Cost(PATCHES_BYTES_PER_PIXEL * max(sizes), 1, seconds, seconds)

    def _amortized_cost(
        self,
        recipe: Recipe,
        data: FitData,
        device: torch.device,
        tiles: tuple[Tile, ...],
        blocks: int,
    ) -> _Cost:
        """What an amortized fit costs, and applying it to all tiles."""
        trial = AmortizedTrial(recipe, data, device)
        key = (
            "amortized",
            trial.refinement,
            data.y.shape[1],
            device.type,
            recipe.compute.precision,
            torch.get_num_threads(),
        )
        if key not in self._timings:
            self._timings[key] = trial.run()
        per_step, per_pixel = self._timings[key]
        sizes = [math.prod(map(len, tile.weights)) for tile in tiles]
        steps = recipe.solver.max_steps
        is_warm = recipe.solver.warm_start == "always"  # else frames of one field have new networks
        fits = 1 + (blocks - 1) * (WARM_START_STEPS_SHARE if is_warm else 1.0)
        seconds = recipe.ensemble.size * (per_step * steps * fits + per_pixel * sum(sizes) * blocks)
        memory = APPLICATION_BYTES_PER_PIXEL * max(sizes)
        return _Cost(memory, steps, seconds, seconds)

    def _seconds_per_step(
        self, recipe: Recipe, part: Observation, upsampling: float, pixels: int, device: torch.device
    ) -> float:
        """Seconds; NaN if a part of an image does not show how long the whole takes."""
        if not supports_tiling(recipe):
            return math.nan
        trial = recipe.with_settings({"seed": 0, "ensemble.size": 1, **_TRIAL_SETTINGS})
        key = trial.model_dump_json(), part.y.shape[:3], device.type, torch.get_num_threads()
        if key not in self._timings:
            self._timings[key] = _time_trial(trial, part, upsampling)
        start, per_pixel = self._timings[key]
        return start + per_pixel * pixels


def remaining_seconds(progress: Progress, steps: int) -> float:
    """Return the time that a run takes from here, if each fit takes `steps`; negative beyond. [s]

    NaN before the first step.
    """
    done = progress.fits_done
    if done == progress.step == 0:
        return math.nan
    per_step = progress.seconds / (done * steps + progress.step)
    return (steps - progress.step + (progress.fits - done - 1) * steps) * per_step


def typical_steps(recipe: Recipe) -> int:
    """Return the typical number of steps of a fit."""
    stopping = recipe.stopping
    typical = math.inf
    if isinstance(stopping, EarlyStopping):
        typical = round(STEPS_PER_PATIENCE * stopping.patience)
    return int(min(typical, recipe.solver.max_steps))


def _time_trial(recipe: Recipe, part: Observation, upsampling: float) -> tuple[float, float]:
    """The duration of a step: seconds, and seconds per pixel of the scene."""
    timings: dict[float, float] = {}
    planes = math.sqrt(part.y.shape[0] * part.y.shape[2])  # that are restored jointly
    for trial_side in TRIAL_SIDES_PX:
        side = max(round(trial_side / upsampling / planes), SMALLEST_SIDE)
        slices = [arrays.central_slice(length, side) for length in part.y.shape[-2:]]
        cropped = part.crop(*slices)
        run = iter_restoration(part if cropped.is_constant else cropped, recipe, snapshot_every=1)
        seconds = [progress.seconds for progress in run]
        pixels = math.prod(s.stop - s.start for s in slices) * upsampling**2
        timings[pixels] = float(np.diff(seconds).min())
    few, many = min(timings), max(timings)
    per_pixel = max(timings[many] - timings[few], 0) / (many - few) if many > few else 0.0
    return max(timings[few] - per_pixel * few, 0), per_pixel


def _upsampling(recipe: Recipe, data: FitData) -> float:
    """Pixels of the scene per pixel of the data, along an axis."""
    if not supports_tiling(recipe):
        return 1.0
    part = data.crop(*(arrays.central_slice(length, TRIAL_SIDES_PX[0]) for length in data.y.shape[-2:]))
    return math.sqrt(math.prod(recipe.operator.build(part).scale_factor))
