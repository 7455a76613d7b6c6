"""Stopping: a statistic of the run, and when to believe it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.problem import Problem
from napari_dip.settings import Settings, tagged_union

if TYPE_CHECKING:
    import torch


class Watch(ABC):
    """A stopping rule at work on one problem."""

    fitted: Problem
    """The problem to fit, less what the rule keeps for itself."""
    keeps_least: bool
    """Whether the step with the least statistic is the result, or else the last step."""

    @abstractmethod
    def statistic(self, average: torch.Tensor) -> torch.Tensor:
        """The statistic of the running average, a scalar on its device."""

    @abstractmethod
    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        """A sentence once the statistics of all steps so far show that it is time, else None."""


class StoppingSettings(Settings, ABC):
    """Settings of one stopping rule."""

    kind: str

    @abstractmethod
    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        """The rule at work on `problem`."""


class HeldOut(StoppingSettings):
    """Leave a few pixels out of the fit and stop when their error no longer falls.

    Noise that is independent from pixel to pixel cannot be predicted, so the error of pixels that
    the network never saw is the error of the image plus a constant.

    References
    ----------
    .. [1] Stone, "Cross-validatory choice and assessment of statistical predictions", J. R. Stat.
           Soc. B 36 (1974) 111, doi:10.1111/j.2517-6161.1974.tb00994.x
    """

    kind: Literal["held-out"] = "held-out"
    fraction: Annotated[float, Field(gt=0, le=0.2)] = 0.02
    """Part of the observed pixels that is left out of the fit."""
    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Steps without improvement that end the run, at least. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] = 0.35
    """The same as a part of the steps up to the best one, where that is more."""

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        return _HeldOutWatch(self, *problem.hold_out(self.fraction, generator))


@dataclass
class _HeldOutWatch(Watch):
    settings: HeldOut
    fitted: Problem
    held_out: Problem
    keeps_least: bool = True

    def statistic(self, average: torch.Tensor) -> torch.Tensor:
        return self.held_out.robust_loss(average)

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        best = int(np.argmin(statistics)) + 1
        waited = len(statistics) - best
        patience = max(self.settings.patience, self.settings.relative_patience * best)
        if waited < patience:
            return None
        return f"the error of the held-out pixels was least at step {best} and did not fall again"


class FixedSteps(StoppingSettings):
    """Go on to the last step and take the running average there."""

    kind: Literal["fixed"] = "fixed"

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        return _FixedWatch(problem)


@dataclass
class _FixedWatch(Watch):
    fitted: Problem
    keeps_least: bool = False

    def statistic(self, average: torch.Tensor) -> torch.Tensor:
        return self.fitted.loss(average)

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        return None


if TYPE_CHECKING:
    AnyStopping = StoppingSettings
else:
    AnyStopping = tagged_union(StoppingSettings)
