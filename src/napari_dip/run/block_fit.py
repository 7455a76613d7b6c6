"""The scene of one frame, or of a part of it: its problem, the fits to it, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Request
from napari_dip.core.result import History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import PROGRESS_INTERVAL_S, Fit, FitProgress, FitResult
from napari_dip.fitting.stopping import StoppingMonitor
from napari_dip.physics.noise import Likelihood
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior
from napari_dip.prior.initialization import Weights
from napari_dip.refine.ensemble import EnsembleStatistics
from napari_dip.refine.settings import Method
from napari_dip.run.recipe import Recipe
from napari_dip.run.warm_start import WarmStart


class BlockFit:
    """One frame, or several of one scene: its problem, and the fits to it."""

    def __init__(
        self, recipe: Recipe, frame: Observation, device: torch.device, like: Likelihood | None = None
    ) -> None:
        self._recipe, self._frame, self._device = recipe, frame, device
        self.problem = Problem.from_data(
            frame, recipe.operator, recipe.noise, recipe.regularization, device=device, reference=like
        )
        self.ensemble = EnsembleStatistics(self.problem)
        self.histories: list[History] = []
        self._method: Method = "none"
        self._source_flux_added = False

    def run(
        self, starts: WarmStart, snapshot_every: int | None
    ) -> Generator[FitProgress, Request | None, bool]:
        """One fit after another, each with random numbers of its own; whether that shall be all."""
        for member, seed in enumerate(starts.seeds()):
            weights = starts.weights.get(member)
            fit = starts.start_fit(member, lambda: self._new_fit(seed, weights))  # noqa: B023 - called at once
            found = yield from fit.run(snapshot_every=snapshot_every)
            starts.store_weights(member, fit.prior)
            x, finish = yield from self._refine(found, fit.prior, fit.monitor)
            self.ensemble.add(x, fit.monitor)
            self.histories.append(
                History(found.loss, found.score, found.selected_step, found.stop_reason)
            )
            if finish:
                return True
        return False

    def _new_fit(self, seed: int, weights: Weights | None) -> Fit:
        recipe, generator = self._recipe, torch.Generator().manual_seed(seed)
        watch = recipe.stopping.monitor(self.problem, generator)
        prior = Prior(
            watch.fit_problem,
            self._frame,
            recipe.network,
            recipe.network_input,
            recipe.output,
            recipe.self_supervision,
            precision=recipe.compute.resolve_precision(self._device),
            generator=generator,
            start=weights,
        )
        return Fit(prior, watch, recipe.solver)

    def _refine(
        self, found: FitResult, prior: Prior, watch: StoppingMonitor
    ) -> Generator[FitProgress, Request | None, tuple[torch.Tensor, bool]]:
        """The scene that was found, refined where the recipe says so, and whether that shall be all."""
        work = self._refinement_steps(found.x, prior, watch, lambda: finish)
        step, loss, statistic = len(found.loss), float(found.loss[-1]), float(found.score[-1])
        wish, finish, last_tick = found.request, found.request.stop, time.monotonic()
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value, finish
            if wish.preview or time.monotonic() - last_tick >= PROGRESS_INTERVAL_S:
                last_tick = time.monotonic()
                image = found.x if wish.preview else None
                wish = (yield FitProgress(step, loss, statistic, image)) or Request()
                finish = finish or wish.stop

    def _refinement_steps(
        self, x: torch.Tensor, prior: Prior, watch: StoppingMonitor, enough: Callable[[], bool]
    ) -> Generator[None, None, torch.Tensor]:
        refinement, kept = self._recipe.refinement, self._recipe.hard_data_consistency
        self._method = refinement.select_method(self.problem, watch, hard_data_consistency=kept)
        alone = self._recipe.ensemble.size == 1
        x = yield from self._recipe.admm.brought(x, prior, self.problem, enough)
        x = yield from refinement.refine(x, self.problem, watch, hard_data_consistency=kept, alone=alone)
        lit = refinement.correct_source_flux(
            x, self.problem, watch, hard_data_consistency=kept, alone=alone
        )
        self._source_flux_added |= lit is not None
        return x if lit is None else lit

    def preview(self, x: torch.Tensor) -> torch.Tensor:
        """The mean with the fit that is under way, which stands at `x`."""
        return self.finalize(self.ensemble.mean_with(x))

    def finalize(self, x: torch.Tensor) -> torch.Tensor:
        """`x`, or where the recipe says so the nearest scene that explains the observed data exactly."""
        return self.problem.project_onto_data(x) if self._recipe.hard_data_consistency else x

    def result(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The restored scene, and one standard deviation of its error, (C, H, W) each."""
        deviation, self._calibration = self.ensemble.uncertainty()
        if self._recipe.hard_data_consistency and self.problem.operator.is_identity:
            noise = self.problem.noise_std(self.ensemble.mean)[0]
            deviation = torch.where(self.problem.observed[0], noise, deviation)
        return self.finalize(self.ensemble.mean), deviation

    def visible(self, x: torch.Tensor | BoolArray) -> NDArray[Any]:
        """The part of `x` (C, H, W) where the result lies."""
        inside = x[:, *self.problem.operator.valid_region]
        return inside if isinstance(inside, np.ndarray) else np.asarray(inside.cpu())

    def describe(self, x: torch.Tensor) -> dict[str, Any]:
        """What the provenance says of this scene, once the `result` is `x`."""
        problem, recipe = self.problem, self._recipe
        return {
            "sigma": [_median_sigma(plane) for t in problem.likelihood.sigma for plane in t],
            "origin": problem.likelihood.source,
            "residual": round(float(problem.rms_normalized_residual(x)), 3),
            "split": recipe.self_supervision.select_method(problem, recipe.network.input_downsampling),
            "refinement": self._method,
            "sources": self._source_flux_added,
            "remark": problem.operator.note,
            "consistency": round(problem.data_psnr(x), 2),
            "calibration": self._calibration,
            "doubtful": self._unreproduced(),
        }

    def _unreproduced(self) -> list[tuple[int, int]]:
        """Rows and columns, of what is shown, of small sources that most fits do not have."""
        rows, columns = self.problem.operator.valid_region
        places = self.ensemble.unreproduced_sources()
        return [(y - (rows.start or 0), x - (columns.start or 0)) for y, x in places]


def _median_sigma(sigma: FloatArray) -> float | None:
    """The median noise of a plane, None where nothing of it is observed."""
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None
