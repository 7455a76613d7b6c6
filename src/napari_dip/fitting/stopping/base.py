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

SETTLED = 100  # steps after which the running average shows the scene; none before is the best


def step_of_least(statistics: NDArray[np.float32]) -> int:
    """The step, from 1, at which the statistic was least since the average settled; the last before."""
    early = min(len(statistics), SETTLED) - 1
    return int(np.nanargmin(statistics[early:])) + early + 1


class Apart(NamedTuple):
    """Pixels that have a best step of their own."""

    pixels: torch.Tensor
    """Which, (C, H, W)."""
    errors: Callable[[torch.Tensor], torch.Tensor]
    """The error of every pixel of the running average (C, H, W), as data see it that were not fitted."""
    misfit: Callable[[torch.Tensor], torch.Tensor]
    """How far they are from the data that were, a scalar; they are learnt when it no longer falls."""


class Watch(ABC):
    """A stopping rule at work on one problem."""

    fitted: Problem
    """The problem to fit, less what the rule keeps for itself."""
    keeps_least: bool
    """Whether the step with the least statistic is the result, or else the last step."""

    statistic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """The statistic of a step, a scalar on its device, of the running average and of the step's own
    image, (C, H, W) each."""

    @abstractmethod
    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        """A sentence once the statistics of all steps so far show that it is time, else None."""

    judged: torch.Tensor | None = None
    """Data that can judge the fitted x, (T, C, Y, X), or None: their noise is not in it, but for what
    the `probe` tells."""
    probe: torch.Tensor | None = None
    """Numbers in data units whose covariance with x is that of the data's own noise; None for none."""
    apart: Apart | None = None
    """Pixels that have a best step of their own; the run goes on until they are learnt."""


class StoppingSettings(Settings, ABC):
    """Settings of one stopping rule."""

    kind: str
    discrepancy: Annotated[float, Field(gt=0, le=10)] | None = None
    """End in any case where the mean square of the residuals is no more than so many times the noise's
    variance, with the best step so far (Morozov's principle; 1 is as good as the noise lets it be)."""

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        """The rule at work on `problem`."""
        watch = self._watch(problem, generator)
        return watch if self.discrepancy is None else _Bounded(watch, self.discrepancy)

    @abstractmethod
    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        """The rule without the bound."""


class _Bounded(Watch):
    """A rule that ends besides where the residuals are as small as the noise.

    References
    ----------
    .. [1] Morozov, "On the solution of functional equations by the method of regularization", Soviet
           Math. Dokl. 7 (1966) 414.
    """

    def __init__(self, rule: Watch, bound: float) -> None:
        self._rule, self._bound = rule, bound
        self._square = torch.full((), torch.inf)
        self.fitted, self.keeps_least = rule.fitted, rule.keeps_least
        self.judged, self.probe, self.apart = rule.judged, rule.probe, rule.apart

    def statistic(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        self._square = self.fitted.residual_in_noise(average) ** 2
        return self._rule.statistic(average, x)

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        if self._square <= self._bound:
            return f"the residuals were as small as {self._bound:.3g} times the noise's variance"
        return self._rule.reason_to_stop(statistics)


class Patient(StoppingSettings):
    """Stop when a statistic no longer falls."""

    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Steps without improvement that end the run, at least. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] = 0.35
    """The same as a part of the steps up to the best one, where that is more."""


@dataclass
class PatientWatch(Watch):
    """Waits for a statistic to fall again, and takes its least."""

    settings: Patient
    fitted: Problem
    statistic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    what: str
    judged: torch.Tensor | None = None
    probe: torch.Tensor | None = None
    keeps_least: bool = True

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        best = step_of_least(statistics)
        waited = len(statistics) - best
        patience = max(self.settings.patience, self.settings.relative_patience * best)
        if waited < patience:
            return None
        return f"the {self.what} was least at step {best} and did not fall again"
