"""The fits to one block, or to a tile of it: the problem, the ensemble, the refinement."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import DivergenceError
from napari_dip.core.fit_data import FitData
from napari_dip.core.progress import Request
from napari_dip.core.result import PATCHES_ONLY, History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import DIVERGED, PROGRESS_INTERVAL_S, Fit, FitProgress, FitResult
from napari_dip.fitting.stopping import StoppingMonitor
from napari_dip.physics.data_consistency import project_onto_data
from napari_dip.physics.noise import Likelihood
from napari_dip.physics.problem import Problem
from napari_dip.physics.signals.none import NoSignal
from napari_dip.prior.generator import Prior, PriorSettings
from napari_dip.prior.initialization import Weights
from napari_dip.refine.admm import Admm
from napari_dip.refine.ensemble import EnsembleStatistics
from napari_dip.refine.insignificant_peaks import correct_sources, flatten_insignificant_peaks
from napari_dip.refine.plane_patches import denoise_by_patches
from napari_dip.refine.residual_return import restore_source_flux
from napari_dip.refine.settings import Method
from napari_dip.run.amortized import Member
from napari_dip.run.assessment import (
    FitMeasures,
    fit_findings,
    measure_fit,
    noise_findings,
)
from napari_dip.run.block_report import BlockReport, FittedBlock, motion_record
from napari_dip.run.checkpoint import Checkpoint, FinishedFit
from napari_dip.run.fallback import Attempts
from napari_dip.run.recipe import Recipe
from napari_dip.run.warm_start import WarmStart

NOT_FINITE = (
    "the image is not finite, however it is made: check the noise that is given, and values far from all"
    " others"
)


class BlockFit:
    """The data of one block, or of a tile of it: their problem, and the fits to it."""

    def __init__(
        self, recipe: Recipe, data: FitData, device: torch.device, reference: Likelihood | None = None
    ) -> None:
        self._recipe, self._data, self._device = recipe, data, device
        physics = (recipe.operator, recipe.noise, recipe.regularization)
        self.problem = Problem.from_data(data, *physics, device=device, reference=reference)
        self.ensemble = EnsembleStatistics(self.problem)
        self.histories: list[History] = []
        self._attempts = Attempts(recipe, device)
        self._method: Method = "none"
        self._source_flux_corrected = False
        self._request, self._stop_requested = Request(), False

    def run(
        self, warm_start: WarmStart, snapshot_every: int | None
    ) -> Generator[FitProgress, Request | None, bool]:
        """Run one fit after another, each with its own random numbers; return whether to stop the
        run.

        Raises
        ------
        DivergenceError
            If every attempt at a fit diverges.
        """
        if self._recipe.solver.method == "patches":
            return (yield from self._estimate_patches())
        for member, seed in enumerate(warm_start.seeds()):
            if (yield from self._run_member(member, seed, warm_start, snapshot_every)):
                return True
        return False

    def apply(
        self, members: Sequence[Member], corner: tuple[int, int]
    ) -> Generator[FitProgress, Request | None, bool]:
        """Apply networks that were fitted to crops of an image, whose part at `corner` this is."""
        for member in members:
            x = torch.zeros_like(self.problem.y[0])
            x = yield from self._report_while(self._apply(member, corner, x), member.history, x)
            self.ensemble.add(x)
        return self._stop_requested

    def _estimate_patches(self) -> Generator[FitProgress, Request | None, bool]:
        """Make an image of similar patches, without a network."""
        work, start = denoise_by_patches(self.problem), self.problem.smoothed[0]
        history = History(*2 * (np.zeros(0, np.float32),), 0, PATCHES_ONLY)
        x = yield from self._report_while(work, history, start)
        if self._recipe.refinement.source_flux_correction == "auto":
            x, self._source_flux_corrected = correct_sources(x, self.problem)
        if not self._measure(self.finalize(x)).is_finite:
            raise DivergenceError(NOT_FINITE)
        self.ensemble.add(x)
        self.histories.append(history)
        self._method = "patches"
        return self._stop_requested

    def _apply(
        self, member: Member, corner: tuple[int, int], x: torch.Tensor
    ) -> Generator[None, None, torch.Tensor]:
        """Make an image by one network, and refine it; until then `x` has the mean so far."""
        for number, estimate in enumerate(member.prior.estimate(self.problem, corner, member.seed)):
            x += (estimate - x) / (number + 1)
            yield
        match member.refinement:
            case "source-flux":
                self._source_flux_corrected = True
                return flatten_insignificant_peaks(restore_source_flux(x, self.problem), self.problem)
            case "chain":
                self._method = "patches"
                return (yield from self._recipe.refinement.chain(x, self.problem))
        return x

    def _run_member(
        self, member: int, seed: int, warm_start: WarmStart, snapshot_every: int | None
    ) -> Generator[FitProgress, Request | None, bool]:
        """Run one fit, and another attempt at it if it fails its check."""
        while True:
            weights = warm_start.weights.get(member)
            fit = warm_start.start_fit(member, lambda: self._new_fit(seed, weights))  # noqa: B023
            try:
                making = self._make_image(fit, warm_start.checkpoint, snapshot_every)
                made = yield from making
                measures = self._measure(self.finalize(made.x))
            except DivergenceError:
                if fit.stop_requested or not self._attempts.next(FitMeasures(is_finite=False)):
                    raise
                continue
            diverged = made.history.stop_reason.startswith(DIVERGED)
            if self._stop_requested or not self._attempts.next(measures, diverged=diverged):
                break
            warm_start.weights.pop(member, None)
        if not measures.is_finite:
            raise DivergenceError(NOT_FINITE)
        warm_start.store_weights(member, fit.prior)
        self.ensemble.add(made.x, fit.monitor)
        self.histories.append(made.history)
        return self._stop_requested

    def _make_image(
        self, fit: Fit, checkpoint: Checkpoint, snapshot_every: int | None
    ) -> Generator[FitProgress, Request | None, FinishedFit]:
        """Run and refine a fit, or take over what a run that was killed has made of it."""
        finished = checkpoint.restore(fit, self._device)
        if finished is None:
            fitted = yield from checkpoint.record(fit, fit.run(snapshot_every=snapshot_every))
            x = yield from self._refine(fitted, fit.prior, fit.monitor)
            corrected = self._source_flux_corrected
            finished = FinishedFit(x, fitted.history, self._method, source_flux_corrected=corrected)
            checkpoint.save(fit, finished)
        self._method, self._source_flux_corrected = finished.refinement, finished.source_flux_corrected
        return finished

    def _new_fit(self, seed: int, weights: Weights | None) -> Fit:
        self.problem.operator.reset()
        recipe, generator = self._attempts.current.recipe, torch.Generator().manual_seed(seed)
        monitor = recipe.stopping.monitor(self.problem, generator)
        precision = recipe.compute.resolve_precision(self._device)
        if recipe.network.is_3d and not self.problem.operator.is_identity:
            precision = torch.float32  # in bfloat16 torch can corrupt memory on a CPU
        parts = recipe.network, recipe.network_input, recipe.output, recipe.self_supervision
        # Maps of complex images are better if the equation comes after the fit.
        signal = NoSignal() if recipe.operator.has_complex_scene else recipe.signal
        prior = Prior.build(
            monitor.fit_problem,
            self._data,
            PriorSettings(*parts, signal),
            precision=precision,
            generator=generator,
            start=weights,
        )
        return Fit(prior, monitor, recipe.solver)

    def _refine(
        self, fitted: FitResult, prior: Prior, monitor: StoppingMonitor
    ) -> Generator[FitProgress, Request | None, torch.Tensor]:
        """Refine a fitted image as the recipe says."""
        self._request, self._stop_requested = fitted.request, fitted.request.stop
        work = self._refinement_steps(fitted.x, prior, monitor)
        return (yield from self._report_while(work, fitted.history, fitted.x))

    def _report_while(
        self, work: Generator[None, None, torch.Tensor], history: History, x: torch.Tensor
    ) -> Generator[FitProgress, Request | None, torch.Tensor]:
        """Report several times a second while `work` makes an image from `x`, which is returned."""
        last_report = time.monotonic()
        while True:
            try:
                next(work)
            except StopIteration as end:
                refined: torch.Tensor = end.value
                return refined
            if self._request.preview or time.monotonic() - last_report >= PROGRESS_INTERVAL_S:
                last_report = time.monotonic()
                image = x if self._request.preview else None
                self._request = (yield FitProgress(*history.last, image)) or Request()
                self._stop_requested = self._stop_requested or self._request.stop

    def _refinement_steps(
        self, x: torch.Tensor, prior: Prior, monitor: StoppingMonitor
    ) -> Generator[None, None, torch.Tensor]:
        recipe, problem = self._recipe, self.problem
        refinement, hard = recipe.refinement, recipe.hard_data_consistency
        self._method = refinement.select_method(problem, monitor, hard_data_consistency=hard)
        options = {"hard_data_consistency": hard, "is_single_fit": recipe.ensemble.size == 1}
        x = yield from Admm(recipe.admm, problem, prior).run(x, lambda: self._stop_requested)
        x = yield from refinement.refine(x, problem, monitor, **options)
        x, has_sources = refinement.correct_sources(x, problem, monitor, **options)
        self._source_flux_corrected |= has_sources
        return x

    def preview(self, x: torch.Tensor) -> torch.Tensor:
        """Return what to show of the mean with the current fit, which stands at `x`."""
        return self.finalize(self.ensemble.mean_with(x)) + self.problem.operator.foreground

    def finalize(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` where it contributes to the data, projected onto them if the recipe demands it."""
        x = x * self.problem.operator.support
        return project_onto_data(self.problem, x) if self._recipe.hard_data_consistency else x

    def result(self) -> FittedBlock:
        """Return what the fits found."""
        x, std = self._mean_and_std()
        operator = self.problem.operator
        return FittedBlock(
            x=self.visible(x + operator.foreground),
            std=self.visible((std**2 + operator.foreground_variance).sqrt()),
            uncovered=self.visible(self.problem.uncovered()),
            residual=self.problem.residual(x).cpu().numpy(),
            noise_std=self.problem.noise_std(x).cpu().numpy(),
            histories=self.histories,
            report=self._report(x),
        )

    def _mean_and_std(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The restored scene, and the standard deviation of its error, (C, H, W) each."""
        std, self._calibration = self.ensemble.uncertainty()
        if self._recipe.hard_data_consistency and self.problem.operator.is_identity:
            noise = self.problem.noise_std(self.ensemble.mean)[0]
            std = torch.where(self.problem.observed[0], noise, std)
        return self.finalize(self.ensemble.mean), std

    def visible(self, x: torch.Tensor | BoolArray) -> NDArray[Any]:
        """Return the part of a scene (C, H, W) that the result shows."""
        inside = x[:, *self.problem.operator.valid_region]
        return inside if isinstance(inside, np.ndarray) else np.asarray(inside.cpu())

    def _report(self, x: torch.Tensor) -> BlockReport:
        """What the provenance records, if the restored scene is `x`."""
        problem, recipe = self.problem, self._attempts.current.recipe
        properties, downsampling = problem.likelihood.properties, recipe.network.input_downsampling
        supervision = recipe.self_supervision.select_method(problem, downsampling)
        return BlockReport(
            sigma=tuple(_median_sigma(plane) for planes in properties.sigma for plane in planes),
            noise_source=properties.source,
            residual=round(float(problem.rms_normalized_residual(x)), 3),
            self_supervision="none" if recipe.solver.method == "patches" else supervision,
            refinement=self._method,
            source_flux_corrected=self._source_flux_corrected,
            operator_note=problem.operator.note,
            motion=motion_record(problem.operator.motion),
            data_psnr_db=round(problem.data_psnr(x), 2),
            measures=(measures := self._measure(x)),
            findings=tuple(self._findings(measures)),
            fallback=self._attempts.current.note,
            calibration=self._calibration,
            unreproduced_sources=tuple(self._unreproduced_sources()),
        )

    def _measure(self, x: torch.Tensor) -> FitMeasures:
        hard = self._recipe.hard_data_consistency
        return measure_fit(self.problem, x, hard_data_consistency=hard)

    def _findings(self, measures: FitMeasures) -> Iterator[Finding]:
        yield from fit_findings(measures)
        yield from self.problem.operator.findings
        properties, hard = self.problem.likelihood.properties, self._recipe.hard_data_consistency
        yield from noise_findings(properties, hard_data_consistency=hard)
        if self._attempts.current.note:
            yield Finding("check", self._attempts.current.note)

    def _unreproduced_sources(self) -> list[tuple[int, int]]:
        rows, columns = self.problem.operator.valid_region
        places = self.ensemble.unreproduced_sources()
        return [(y - (rows.start or 0), x - (columns.start or 0)) for y, x in places]


def _median_sigma(sigma: FloatArray) -> float | None:
    known = sigma[np.isfinite(sigma)]
    return float(np.median(known)) if known.size else None
