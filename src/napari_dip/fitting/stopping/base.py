"""The interface of a stopping rule, and rules with patience."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.state import Stateful
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem

EMA_WARMUP_STEPS = 100  # after which the moving average shows the scene; no step before is the best
RELATIVE_PATIENCE, RELATIVE_PATIENCE_OF_FISSION = 0.35, 0.15


def best_step(scores: NDArray[np.float32]) -> int:
    """Return the step, from 1, with the lowest score after the warm-up; the last one if there is
    none.
    """
    candidates = selectable(scores)
    return int(np.nanargmin(candidates)) + len(scores) - len(candidates) + 1


def selectable(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores after the warm-up, or the last one if there are none: of the steps before,
    no image is kept.
    """
    return scores[min(len(scores), EMA_WARMUP_STEPS) - 1 :]


class SeparatePixels(NamedTuple):
    """Pixels that have a best step of their own."""

    mask: torch.Tensor
    """Which pixels, (C, H, W) bool."""
    errors: Callable[[torch.Tensor], torch.Tensor]
    """Maps the moving average (C, H, W) to the error of each pixel, from data that were not fitted."""
    misfit: Callable[[torch.Tensor], torch.Tensor]
    """Maps it to the misfit of the fitted data, a scalar; when that no longer falls, they are
    learned."""


class StoppingMonitor(ABC):
    """A stopping rule at work on one problem.

    Attributes
    ----------
    fit_problem : Problem
        The problem to fit: the given one, without what the rule holds back.
    score : callable
        Maps the moving average and the image of a step, (C, H, W) each, to the score of the step, a
        scalar on its device.
    restore_best : bool
        Whether the step with the lowest score is the result, or else the last one.
    validation_mask : (T, C, Y, X) bool or None
        Data that can validate the fitted x: their noise is not in it, except as `noise_probe` says.
    noise_probe : (T, C, Y, X) or None
        Numbers in data units whose covariance with x is that of the noise of the data.
    separate_pixels : SeparatePixels or None
        Pixels with a best step of their own; the run continues until they are learned.
    """

    fit_problem: Problem
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    restore_best: bool
    validation_mask: torch.Tensor | None = None
    noise_probe: torch.Tensor | None = None
    separate_pixels: SeparatePixels | None = None

    @property
    def state(self) -> Stateful:
        """What changes from step to step; nothing for most rules."""
        return Stateful()

    @abstractmethod
    def stop_reason(self, scores: NDArray[np.float32]) -> str | None:
        """Return a sentence if the `scores` of all steps so far show that it is time to stop."""


class StoppingSettings(Settings, ABC):
    """Settings of one stopping rule."""

    kind: str
    discrepancy_factor: Annotated[float, Field(gt=0, le=10)] | None = None
    """Stop in any case when the mean square of the residual is at most this times the variance of the
    noise, and keep the best step so far (Morozov's discrepancy principle; 1 is the noise itself)."""

    def monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        """Return the rule at work on `problem`."""
        monitor = self._monitor(problem, generator)
        if self.discrepancy_factor is None:
            return monitor
        return DiscrepancyMonitor(monitor, self.discrepancy_factor)

    @abstractmethod
    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        """The rule without the discrepancy principle."""


class DiscrepancyMonitor(StoppingMonitor):
    """A rule that also stops when the residual is as small as the noise.

    References
    ----------
    .. [1] Morozov, "On the solution of functional equations by the method of regularization", Soviet
           Math. Dokl. 7 (1966) 414.
    """

    def __init__(self, rule: StoppingMonitor, factor: float) -> None:
        self._rule, self._factor = rule, factor
        self._square = torch.full((), torch.inf)
        self.fit_problem, self.restore_best = rule.fit_problem, rule.restore_best
        self.validation_mask, self.noise_probe = rule.validation_mask, rule.noise_probe
        self.separate_pixels = rule.separate_pixels

    def score(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        self._square = self.fit_problem.rms_normalized_residual(average) ** 2
        return self._rule.score(average, x)

    @property
    def state(self) -> Stateful:
        return self._rule.state

    def stop_reason(self, scores: NDArray[np.float32]) -> str | None:
        if self._square <= self._factor:
            return f"the mean square residual fell to {self._factor:.3g} times the variance of the noise"
        return self._rule.stop_reason(scores)


class EarlyStopping(StoppingSettings):
    """Stop when a score no longer falls."""

    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Minimum number of steps without improvement after which the fit stops. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] | None = None
    """The same as a fraction of the steps up to the best one, where that is more; automatic: 0.15 where
    the data are split by their noise, whose score hardly fluctuates, and 0.35 elsewhere."""


@dataclass
class PatienceMonitor(StoppingMonitor):
    """Waits for a score to fall again, and selects the step with the lowest."""

    settings: EarlyStopping
    fit_problem: Problem
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score_name: str
    validation_mask: torch.Tensor | None = None
    noise_probe: torch.Tensor | None = None
    separate_pixels: SeparatePixels | None = None
    restore_best: bool = True

    @property
    def state(self) -> Stateful:
        return self.score if isinstance(self.score, Stateful) else super().state

    def stop_reason(self, scores: NDArray[np.float32]) -> str | None:
        best = best_step(scores)
        waited = len(scores) - best
        relative = self.settings.relative_patience
        if relative is None:
            relative = RELATIVE_PATIENCE if self.noise_probe is None else RELATIVE_PATIENCE_OF_FISSION
        patience = max(self.settings.patience, relative * best)
        if waited < patience:
            return None
        return f"the {self.score_name} was lowest at step {best} and did not fall again"
