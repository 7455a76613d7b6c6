"""What a run will cost, and what it takes the noise for, told before it begins."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from napari_dip.core.axes import SMALLEST_SIDE
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.restoration import restore
from napari_dip.run.tile_planner import plan_tiles
from napari_dip.run.tiling import noise_sample

TRIAL_SIDES_PX = (96, 192)  # pixels along the sides of the squares that are tried
TRIAL_STEPS = 5  # that are tried
STEPS_PER_PATIENCE = 12  # times the patience, that a run takes; measured: docs/performance.md
REFINEMENT_COST_STEPS = 70  # steps that take as long as the second look at the data
_TRIAL_SETTINGS = {
    "stopping.kind": "fixed",
    "solver.max_steps": TRIAL_STEPS,
    "refinement.patch_method": "none",
    "refinement.spectral_shrinkage": "off",
    "admm.max_iter": 0,
    "stack.align": False,
    "solver.warm_start": True,
    "compute.tile_size": None,
    "compute.memory_limit_gb": None,
}
WARM_START_STEP_SHARE = 0.5  # part of the steps where the network of the crop or frame before is at hand


@dataclass(frozen=True)
class RunEstimate:
    """What is known of a run before it begins.

    Attributes
    ----------
    sigma : float
        Standard deviation of the noise in the median of all planes. [data units]
    origin : str
        Where that is from, and what kind of noise it is.
    device : str
        What computes.
    memory : float
        What a fit takes, about. [byte]
    crops : str
        In how many crops the frame is restored, and why; nothing where it is restored as a whole.
    steps : int
        How many steps it takes, as a rule. [step]
    seconds, longest : float
        How long it takes, as a rule and at the most; not a number where that cannot be told
        beforehand. [s]
    """

    sigma: float
    source: str
    device: str
    memory_bytes: float
    tiles: str
    steps: int
    seconds: float
    max_seconds: float


class RunEstimator:
    """How long a step takes, by what was tried or run before on this machine."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float]] = {}

    def estimate(
        self, recipe: Recipe, observation: Observation, *, times: int = 1, depths: int = 1
    ) -> RunEstimate:
        """What can be told of restoring so many `times` and `depths`, of which `observation` has one.

        Tries a few steps on a part of it where no like run was tried before: about a second.

        Raises
        ------
        RestoreError
            If it could not be restored.
        """
        device = recipe.compute.resolve_device()
        place, frame = next(
            iter(recipe.stack.iter_blocks(observation, joint=recipe.operator.combines_time))
        )
        crops, why = plan_tiles(recipe, frame, device)
        like = recipe.noise.likelihood(noise_sample(frame, crops) if len(crops) > 1 else frame)
        finer = _upsampling(recipe, frame)
        pixels = round(max(math.prod(map(len, crop.weights)) for crop in crops) * finer**2)
        each = typical_steps(recipe)
        parts = len(crops) * len(
            list(recipe.stack.iter_slices(times, depths, joint=recipe.operator.combines_time))
        )
        fits = 1 + (parts - 1) * (WARM_START_STEP_SHARE if recipe.solver.warm_start else 1.0)
        a_step = self._seconds_per_step(recipe, observation.select_planes(*place), finer, pixels, device)
        pace = a_step * recipe.ensemble.size * fits
        afterwards = 0 if recipe.refinement.patch_method == "none" else REFINEMENT_COST_STEPS
        known = like.sigma[np.isfinite(like.sigma)]
        return RunEstimate(
            sigma=float(np.median(known)) if known.size else math.nan,
            source=like.source,
            device=device.type,
            memory_bytes=pixels * bytes_per_pixel(recipe, frame.channel_layout, device),
            tiles=why,
            steps=each,
            seconds=pace * (each + afterwards),
            max_seconds=pace * (recipe.solver.max_steps + afterwards),
        )

    def _seconds_per_step(
        self, recipe: Recipe, part: Observation, finer: float, pixels: int, device: torch.device
    ) -> float:
        """Seconds; not a number where no part of a frame tells how long the whole takes."""
        if not _supports_tiling(recipe):
            return math.nan
        tried = recipe.with_settings({"seed": 0, "ensemble.size": 1, **_TRIAL_SETTINGS})
        key = tried.model_dump_json(), part.y.shape[:3], device.type, torch.get_num_threads()
        if key not in self._known:
            self._known[key] = _time_trial(tried, part, finer)
        start, growth = self._known[key]
        return start + growth * pixels


def remaining_seconds(iterate: Progress, usual: int) -> float:
    """How long a run goes on, as a rule, that takes `usual` steps; negative once it is past them. [s]"""
    fits = iterate.blocks * iterate.tiles * iterate.members
    done = (iterate.block * iterate.tiles + iterate.tile) * iterate.members + iterate.member
    pace = iterate.seconds / max(done * usual + iterate.step, 1)
    return (usual - iterate.step + (fits - done - 1) * usual) * pace


def typical_steps(recipe: Recipe) -> int:
    """How many steps a fit takes, as a rule."""
    stopping = recipe.stopping
    usual = (
        round(STEPS_PER_PATIENCE * stopping.patience)
        if isinstance(stopping, EarlyStopping)
        else math.inf
    )
    return int(min(usual, recipe.solver.max_steps))


def _time_trial(recipe: Recipe, part: Observation, finer: float) -> tuple[float, float]:
    """How long a step takes: seconds, and seconds for each pixel of the scene."""
    found: dict[float, float] = {}
    deep = math.sqrt(part.y.shape[0] * part.y.shape[2])  # planes that are restored together
    for side in TRIAL_SIDES_PX:
        at_hand = max(round(side / finer / deep), SMALLEST_SIDE)
        places = [_central_slice(length, at_hand) for length in part.y.shape[-2:]]
        here = part.crop(*places)
        run = restore(recipe, part if here.is_constant else here, snapshot_every=1)
        ticks = [iterate.seconds for iterate in run]
        found[math.prod(p.stop - p.start for p in places) * finer**2] = float(np.diff(ticks).min())
    few, many = min(found), max(found)
    growth = max(found[many] - found[few], 0) / (many - few) if many > few else 0.0
    return max(found[few] - growth * few, 0), growth


def _supports_tiling(recipe: Recipe) -> bool:
    return recipe.operator.supports_tiling and recipe.network_input.supports_tiling


def _upsampling(recipe: Recipe, frame: Observation) -> float:
    """How many pixels of the scene lie along a pixel of the data."""
    if not _supports_tiling(recipe):
        return 1.0
    part = frame.crop(*(_central_slice(length, TRIAL_SIDES_PX[0]) for length in frame.y.shape[-2:]))
    return math.sqrt(math.prod(recipe.operator.build(part).scale_factor))


def _central_slice(length: int, side: int) -> slice:
    start = max((length - side) // 2, 0)
    return slice(start, start + min(side, length))
