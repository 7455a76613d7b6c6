"""One network for a whole image: it is fitted to random crops, before it is applied tile by tile."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.errors import DivergenceError
from napari_dip.core.fit_data import FitData
from napari_dip.core.progress import Request
from napari_dip.core.result import History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.amortized import AmortizedFit, CropSampler
from napari_dip.fitting.solver import FitProgress
from napari_dip.physics.noise import Likelihood
from napari_dip.physics.problem import Problem
from napari_dip.physics.windows import Windows
from napari_dip.prior.amortized import CELL_PX, AmortizedPrior
from napari_dip.prior.initialization import Weights
from napari_dip.refine.settings import AmortizedRefinement
from napari_dip.run.assessment import is_noisy, measure_fit
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.recipe import Recipe
from napari_dip.run.warm_start import WarmStart

MAX_SAMPLE_PX = 20_000_000  # of which crops are drawn; of larger images, regions are
REGION_PX = 512
TIMED_REPORTS = 6  # of steps, some 50 ms apart
CHECKED_PX = 256  # side of the part on which a fit is checked


@dataclass(frozen=True)
class Member:
    """A fitted network of the ensemble, the seed of its noise, the course of its fit, and what is done
    to each part of the image that it makes.
    """

    prior: AmortizedPrior
    seed: int
    history: History
    refinement: AmortizedRefinement


def fit_members(
    recipe: Recipe, data: FitData, reference: Likelihood, device: torch.device, warm_start: WarmStart
) -> Generator[FitProgress, Request | None, list[Member]]:
    """Fit one network for each member of the ensemble to random crops of `data`.

    A request to stop ends the current fit, which is then the last.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    data : FitData
        The whole image.
    reference : Likelihood
        Of the whole image.
    device : torch.device
        Where to compute.
    warm_start : WarmStart
        Seeds and weights; it keeps those of the fitted networks.

    Raises
    ------
    DivergenceError
        If a fit diverges, or fails its check, or the data cannot be split.
    """
    sample, region_height = _sample(data, recipe.seed)
    physics = (recipe.operator, recipe.noise, recipe.regularization)
    problem = Problem.from_data(sample, *physics, device=device, reference=reference)
    if recipe.self_supervision.select_method(problem, 1) == "none":
        raise DivergenceError("its noise is structured, or hardly anything is observed")
    members: list[Member] = []
    starts, seeds = warm_start.start_amortized(data), warm_start.seeds()
    for number, seed in enumerate(seeds):
        fixed = recipe, problem, region_height, seed, warm_start.checkpoint
        try:
            member, stop = yield from _fit_member(*fixed, starts.get(number))
        except DivergenceError:
            if number not in starts:
                raise
            member, stop = yield from _fit_member(*fixed, None)
        members.append(member)
        warm_start.store_weights(number, member.prior)
        if stop:
            break
    return members


def _fit_member(
    recipe: Recipe,
    problem: Problem,
    region_height: int | None,
    seed: int,
    checkpoint: Checkpoint,
    start: Weights | None,
) -> Generator[FitProgress, Request | None, tuple[Member, bool]]:
    """Fit one network to crops of `problem`; return it, and whether to stop the run."""
    generator = torch.Generator().manual_seed(seed)
    prior = AmortizedPrior(
        problem,
        recipe.output,
        recipe.self_supervision,
        precision=recipe.compute.resolve_precision(problem.y.device),
        generator=generator,
        start=start,
    )
    sampler = CropSampler(problem, generator, region_height)
    steps = recipe.solver.max_steps
    fit = AmortizedFit(prior, problem, sampler, steps, generator, is_warm=prior.is_warm)
    checkpoint.restore(fit, problem.y.device)
    history, stop = yield from checkpoint.record(fit, fit.run())
    _check(prior, problem, sampler, seed)
    return Member(prior, seed, history, _select_refinement(recipe, problem, sampler)), stop


def _select_refinement(recipe: Recipe, problem: Problem, sampler: CropSampler) -> AmortizedRefinement:
    """What is done to the image of an amortized fit."""
    return recipe.refinement.select_amortized(
        problem,
        is_sparse=sampler.is_sparse,
        hard_data_consistency=recipe.hard_data_consistency,
    )


def _sample(data: FitData, seed: int) -> tuple[FitData, int | None]:
    """The data themselves, or regions of large ones, one below the other, and the height of these."""
    height, width = data.y.shape[-2:]
    if height * width <= MAX_SAMPLE_PX or min(height, width) < REGION_PX:
        return data, None
    rng = np.random.default_rng(seed)
    number = MAX_SAMPLE_PX // REGION_PX**2
    across = max(round(math.sqrt(number * width / height)), 1)
    down = max(number // across, 1)
    regions = []
    for row in range(down):
        for column in range(across):
            place = (row + rng.random()) / down, (column + rng.random()) / across
            top, left = (int(p * (n - REGION_PX)) for p, n in zip(place, (height, width), strict=True))
            regions.append(data.crop(slice(top, top + REGION_PX), slice(left, left + REGION_PX)))
    first, *others = [region for region in regions if not region.is_constant] or regions[:1]
    return first.concatenate_rows(others), REGION_PX


def _check(prior: AmortizedPrior, problem: Problem, sampler: CropSampler, seed: int) -> None:
    """Raise an error if the network makes images that are not finite, or that carry more noise than the
    data, or their noise turned upside down.
    """
    height, width = (min(CHECKED_PX, n) for n in problem.y.shape[-2:])
    top, left = sampler.draw(1).places[0]
    place = min(top, problem.y.shape[-2] - height), min(left, problem.y.shape[-1] - width)
    part = problem.crops(Windows((place,), (height, width), (0,)))
    estimates = list(prior.estimate(part, (0, 0), seed))
    measures = measure_fit(part, torch.stack(estimates).mean(dim=0))
    if not measures.is_finite or is_noisy(measures):
        raise DivergenceError("it failed its check")


class AmortizedTrial:
    """A few steps of an amortized fit in the middle of `data`, to time them.

    Attributes
    ----------
    refinement : str
        What would be done to the image; it has a large share in the time.
    """

    def __init__(self, recipe: Recipe, data: FitData, device: torch.device) -> None:
        part = data.crop(*(arrays.central_slice(n, CHECKED_PX) for n in data.y.shape[-2:]))
        part = data if part.is_constant else part
        self._recipe, self._generator = recipe, torch.Generator().manual_seed(0)
        self._problem = Problem.from_data(part, recipe.operator, recipe.noise, device=device)
        self._sampler = CropSampler(self._problem, self._generator)
        self.refinement = _select_refinement(recipe, self._problem, self._sampler)

    def run(self) -> tuple[float, float]:
        """Return the duration of a step, and that of applying and refining a pixel: in about a second,
        or two. [s]
        """
        recipe, problem, generator = self._recipe, self._problem, self._generator
        precision = recipe.compute.resolve_precision(problem.y.device)
        prior = AmortizedPrior(
            problem, recipe.output, recipe.self_supervision, precision=precision, generator=generator
        )
        fit = AmortizedFit(prior, problem, self._sampler, 1000, generator)
        reports = [(report.step, time.perf_counter()) for report in islice(fit.run(), TIMED_REPORTS)]
        (first, started), *_, (last, ended) = reports
        middle = problem.crops(Windows(((0, 0),), (CELL_PX, CELL_PX), (0,)))
        x = torch.stack(list(prior.estimate(middle, (0, 0), 0))).mean(dim=0)
        if self.refinement == "chain":
            for _ in recipe.refinement.chain(x, middle):
                pass
        return (ended - started) / (last - first), (time.perf_counter() - ended) / CELL_PX**2
