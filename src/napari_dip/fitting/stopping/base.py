"""What every stopping rule is: settings that watch a run and say when to end it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem

EMA_WARMUP_STEPS = 100  # steps after which the running average shows the scene; none before is the best


def best_step(statistics: NDArray[np.float32]) -> int:
    """The step, from 1, at which the statistic was least since the average settled; the last before."""
    early = min(len(statistics), EMA_WARMUP_STEPS) - 1
    return int(np.nanargmin(statistics[early:])) + early + 1


class SeparatePixels(NamedTuple):
    """Pixels that have a best step of their own."""

    mask: torch.Tensor
    """Which, (C, H, W)."""
    errors: Callable[[torch.Tensor], torch.Tensor]
    """The error of every pixel of the running average (C, H, W), as data see it that were not fitted."""
    misfit: Callable[[torch.Tensor], torch.Tensor]
    """How far they are from the data that were, a scalar; they are learnt when it no longer falls."""


class StoppingMonitor(ABC):
    """A stopping rule at work on one problem."""

    fit_problem: Problem
    """The problem to fit, less what the rule keeps for itself."""
    restore_best: bool
    """Whether the step with the least statistic is the result, or else the last step."""

    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """The statistic of a step, a scalar on its device, of the running average and of the step's own
    image, (C, H, W) each."""

    @abstractmethod
    def stop_reason(self, statistics: NDArray[np.float32]) -> str | None:
        """A sentence once the statistics of all steps so far show that it is time, else None."""

    validation_mask: torch.Tensor | None = None
    """Data that can judge the fitted x, (T, C, Y, X), or None: their noise is not in it, but for what
    the `probe` tells."""
    noise_probe: torch.Tensor | None = None
    """Numbers in data units whose covariance with x is that of the data's own noise; None for none."""
    separate_pixels: SeparatePixels | None = None
    """Pixels that have a best step of their own; the run goes on until they are learnt."""


class StoppingSettings(Settings, ABC):
    """Settings of one stopping rule."""

    kind: str
    discrepancy_factor: Annotated[float, Field(gt=0, le=10)] | None = None
    """End in any case where the mean square of the residuals is no more than so many times the noise's
    variance, with the best step so far (Morozov's principle; 1 is as good as the noise lets it be)."""

    def monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        """The rule at work on `problem`."""
        watch = self._monitor(problem, generator)
        return (
            watch
            if self.discrepancy_factor is None
            else DiscrepancyMonitor(watch, self.discrepancy_factor)
        )

    @abstractmethod
    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        """The rule without the bound."""


class DiscrepancyMonitor(StoppingMonitor):
    """A rule that ends besides where the residuals are as small as the noise.

    References
    ----------
    .. [1] Morozov, "On the solution of functional equations by the method of regularization", Soviet
           Math. Dokl. 7 (1966) 414.
    """

    def __init__(self, rule: StoppingMonitor, bound: float) -> None:
        self._rule, self._bound = rule, bound
        self._square = torch.full((), torch.inf)
        self.fit_problem, self.restore_best = rule.fit_problem, rule.restore_best
        self.validation_mask, self.noise_probe, self.separate_pixels = (
            rule.validation_mask,
            rule.noise_probe,
            rule.separate_pixels,
        )

    def score(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        self._square = self.fit_problem.rms_normalized_residual(average) ** 2
        return self._rule.score(average, x)

    def stop_reason(self, statistics: NDArray[np.float32]) -> str | None:
        if self._square <= self._bound:
            return f"the residuals were as small as {self._bound:.3g} times the noise's variance"
        return self._rule.stop_reason(statistics)


class EarlyStopping(StoppingSettings):
    """Stop when a statistic no longer falls."""

    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Steps without improvement that end the run, at least. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] = 0.35
    """The same as a part of the steps up to the best one, where that is more."""


@dataclass
class PatienceMonitor(StoppingMonitor):
    """Waits for a statistic to fall again, and takes its least."""

    settings: EarlyStopping
    fit_problem: Problem
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score_name: str
    validation_mask: torch.Tensor | None = None
    noise_probe: torch.Tensor | None = None
    restore_best: bool = True

    def stop_reason(self, statistics: NDArray[np.float32]) -> str | None:
        best = best_step(statistics)
        waited = len(statistics) - best
        patience = max(self.settings.patience, self.settings.relative_patience * best)
        if waited < patience:
            return None
        return f"the {self.score_name} was least at step {best} and did not fall again"
