"""What a run will cost, and what it takes the noise for, told before it begins."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from napari_dip.core.axes import SMALLEST_SIDE
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Iterate
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import Patient
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.restoration import restore
from napari_dip.run.tile_planner import planned
from napari_dip.run.tiling import sample

SIDES = (96, 192)  # pixels along the sides of the squares that are tried
STEPS = 5  # that are tried
USUAL = 12  # times the patience, that a run takes; measured: docs/performance.md
AFTERWARDS = 70  # steps that take as long as the second look at the data
_TRIAL = {
    "stopping.kind": "fixed",
    "solver.max_steps": STEPS,
    "refinement.patches": "off",
    "refinement.spectrum": "off",
    "consistency.rounds": 0,
    "stack.steady": False,
    "solver.warm_start": True,
    "compute.crop": None,
    "compute.memory": None,
}
WARM = 0.5  # part of the steps where the network of the crop or frame before is at hand


@dataclass(frozen=True)
class Outlook:
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
    origin: str
    device: str
    memory: float
    crops: str
    steps: int
    seconds: float
    longest: float


class Pace:
    """How long a step takes, by what was tried or run before on this machine."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float]] = {}

    def outlook(
        self, recipe: Recipe, observation: Observation, *, times: int = 1, depths: int = 1
    ) -> Outlook:
        """What can be told of restoring so many `times` and `depths`, of which `observation` has one.

        Tries a few steps on a part of it where no like run was tried before: about a second.

        Raises
        ------
        RestoreError
            If it could not be restored.
        """
        device = recipe.compute.resolve_device()
        place, frame = next(iter(recipe.stack.blocks(observation, joint=recipe.operator.joint)))
        crops, why = planned(recipe, frame, device)
        like = recipe.noise.likelihood(sample(frame, crops) if len(crops) > 1 else frame)
        finer = _finer(recipe, frame)
        pixels = round(max(math.prod(map(len, crop.weights)) for crop in crops) * finer**2)
        each = usual_steps(recipe)
        parts = len(crops) * len(list(recipe.stack.places(times, depths, joint=recipe.operator.joint)))
        fits = 1 + (parts - 1) * (WARM if recipe.solver.warm_start else 1.0)
        a_step = self._a_step(recipe, observation.part(*place), finer, pixels, device)
        pace = a_step * recipe.ensemble.members * fits
        afterwards = 0 if recipe.refinement.patches == "off" else AFTERWARDS
        known = like.sigma[np.isfinite(like.sigma)]
        return Outlook(
            sigma=float(np.median(known)) if known.size else math.nan,
            origin=like.origin,
            device=device.type,
            memory=pixels * bytes_per_pixel(recipe, frame.planes, device),
            crops=why,
            steps=each,
            seconds=pace * (each + afterwards),
            longest=pace * (recipe.solver.max_steps + afterwards),
        )

    def _a_step(
        self, recipe: Recipe, part: Observation, finer: float, pixels: int, device: torch.device
    ) -> float:
        """Seconds; not a number where no part of a frame tells how long the whole takes."""
        if not _is_local(recipe):
            return math.nan
        tried = recipe.override({"seed": 0, "ensemble.members": 1, **_TRIAL})
        key = tried.model_dump_json(), part.y.shape[:3], device.type, torch.get_num_threads()
        if key not in self._known:
            self._known[key] = _tried(tried, part, finer)
        start, growth = self._known[key]
        return start + growth * pixels


def seconds_left(iterate: Iterate, usual: int) -> float:
    """How long a run goes on, as a rule, that takes `usual` steps; negative once it is past them. [s]"""
    fits = iterate.frames * iterate.crops * iterate.members
    done = (iterate.frame * iterate.crops + iterate.crop) * iterate.members + iterate.member
    pace = iterate.seconds / max(done * usual + iterate.step, 1)
    return (usual - iterate.step + (fits - done - 1) * usual) * pace


def usual_steps(recipe: Recipe) -> int:
    """How many steps a fit takes, as a rule."""
    stopping = recipe.stopping
    usual = round(USUAL * stopping.patience) if isinstance(stopping, Patient) else math.inf
    return int(min(usual, recipe.solver.max_steps))


def _tried(recipe: Recipe, part: Observation, finer: float) -> tuple[float, float]:
    """How long a step takes: seconds, and seconds for each pixel of the scene."""
    found: dict[float, float] = {}
    deep = math.sqrt(part.y.shape[0] * part.y.shape[2])  # planes that are restored together
    for side in SIDES:
        at_hand = max(round(side / finer / deep), SMALLEST_SIDE)
        places = [_middle(length, at_hand) for length in part.y.shape[-2:]]
        here = part.crop(*places)
        run = restore(recipe, part if here.is_flat else here, snapshot_every=1)
        ticks = [iterate.seconds for iterate in run]
        found[math.prod(p.stop - p.start for p in places) * finer**2] = float(np.diff(ticks).min())
    few, many = min(found), max(found)
    growth = max(found[many] - found[few], 0) / (many - few) if many > few else 0.0
    return max(found[few] - growth * few, 0), growth


def _is_local(recipe: Recipe) -> bool:
    return recipe.operator.local and recipe.code.local


def _finer(recipe: Recipe, frame: Observation) -> float:
    """How many pixels of the scene lie along a pixel of the data."""
    if not _is_local(recipe):
        return 1.0
    part = frame.crop(*(_middle(length, SIDES[0]) for length in frame.y.shape[-2:]))
    return math.sqrt(math.prod(recipe.operator.build(part).zoom))


def _middle(length: int, side: int) -> slice:
    start = max((length - side) // 2, 0)
    return slice(start, start + min(side, length))
