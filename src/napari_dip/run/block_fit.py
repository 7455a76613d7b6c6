"""The scene of one frame, or of a part of it: its problem, the fits to it, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import Flags, Floats
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Wish
from napari_dip.core.result import History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import TICK, Fit, Solution, Tick
from napari_dip.fitting.stopping import Watch
from napari_dip.physics.noise import Likelihood
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior
from napari_dip.prior.initialization import Weights
from napari_dip.refine.ensemble import Members
from napari_dip.refine.settings import Look
from napari_dip.run.recipe import Recipe
from napari_dip.run.warm_start import Starts


class Scene:
    """One frame, or several of one scene: its problem, and the fits to it."""

    def __init__(
        self, recipe: Recipe, frame: Observation, device: torch.device, like: Likelihood | None = None
    ) -> None:
        self._recipe, self._frame, self._device = recipe, frame, device
        self.problem = Problem.of(
            frame, recipe.operator, recipe.noise, recipe.regularisers, device=device, like=like
        )
        self.members = Members(self.problem)
        self.histories: list[History] = []
        self._look: Look = "none"
        self._sources = False

    def fits(self, starts: Starts, snapshot_every: int | None) -> Generator[Tick, Wish | None, bool]:
        """One fit after another, each with random numbers of its own; whether that shall be all."""
        for member, seed in enumerate(starts.seeds()):
            weights = starts.weights.get(member)
            fit = starts.begin(member, lambda: self._begun(seed, weights))  # noqa: B023 - called at once
            found = yield from fit.run(snapshot_every=snapshot_every)
            starts.keep(member, fit.prior)
            x, finish = yield from self._second_look(found, fit.prior, fit.watch)
            self.members.add(x, fit.watch)
            self.histories.append(History(found.loss, found.statistic, found.chosen, found.reason))
            if finish:
                return True
        return False

    def _begun(self, seed: int, weights: Weights | None) -> Fit:
        recipe, generator = self._recipe, torch.Generator().manual_seed(seed)
        watch = recipe.stopping.watch(self.problem, generator)
        prior = Prior(
            watch.fitted,
            self._frame,
            recipe.network,
            recipe.code,
            recipe.output,
            recipe.recorruption,
            precision=recipe.compute.resolve_precision(self._device),
            generator=generator,
            start=weights,
        )
        return Fit(prior, watch, recipe.solver)

    def _second_look(
        self, found: Solution, prior: Prior, watch: Watch
    ) -> Generator[Tick, Wish | None, tuple[torch.Tensor, bool]]:
        """The scene that was found, refined where the recipe says so, and whether that shall be all."""
        work = self._refined(found.x, prior, watch, lambda: finish)
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

    def _refined(
        self, x: torch.Tensor, prior: Prior, watch: Watch, enough: Callable[[], bool]
    ) -> Generator[None, None, torch.Tensor]:
        refinement, kept = self._recipe.refinement, self._recipe.keep_observed
        self._look = refinement.chosen(self.problem, watch, keep_observed=kept)
        alone = self._recipe.ensemble.members == 1
        x = yield from self._recipe.consistency.brought(x, prior, self.problem, enough)
        x = yield from refinement.refined(x, self.problem, watch, keep_observed=kept, alone=alone)
        lit = refinement.with_sources(x, self.problem, watch, keep_observed=kept, alone=alone)
        self._sources |= lit is not None
        return x if lit is None else lit

    def preview(self, x: torch.Tensor) -> torch.Tensor:
        """The mean with the fit that is under way, which stands at `x`."""
        return self.kept(self.members.mean_with(x))

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        """`x`, or where the recipe says so the nearest scene that explains the observed data exactly."""
        return self.problem.agreeing(x) if self._recipe.keep_observed else x

    def result(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The restored scene, and one standard deviation of its error, (C, H, W) each."""
        deviation, self._calibration = self.members.uncertainty()
        if self._recipe.keep_observed and self.problem.operator.copies:
            noise = self.problem.noise(self.members.mean)[0]
            deviation = torch.where(self.problem.observed[0], noise, deviation)
        return self.kept(self.members.mean), deviation

    def shown(self, x: torch.Tensor | Flags) -> NDArray[Any]:
        """The part of `x` (C, H, W) where the result lies."""
        inside = x[:, *self.problem.operator.window]
        return inside if isinstance(inside, np.ndarray) else np.asarray(inside.cpu())

    def described(self, x: torch.Tensor) -> dict[str, Any]:
        """What the provenance says of this scene, once the `result` is `x`."""
        problem, recipe = self.problem, self._recipe
        return {
            "sigma": [_number(plane) for t in problem.likelihood.sigma for plane in t],
            "origin": problem.likelihood.origin,
            "residual": round(float(problem.residual_in_noise(x)), 3),
            "split": recipe.recorruption.chosen(problem, recipe.network.shrink),
            "refinement": self._look,
            "sources": self._sources,
            "remark": problem.operator.remark,
            "consistency": round(problem.consistency(x), 2),
            "calibration": self._calibration,
            "doubtful": self._doubtful(),
        }

    def _doubtful(self) -> list[tuple[int, int]]:
        """Rows and columns, of what is shown, of small sources that most fits do not have."""
        rows, columns = self.problem.operator.window
        places = self.members.doubtful()
        return [(y - (rows.start or 0), x - (columns.start or 0)) for y, x in places]


def _number(sigma: Floats) -> float | None:
    """The median noise of a plane, None where nothing of it is observed."""
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None
