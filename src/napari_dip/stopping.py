"""Stopping: a statistic of the run, and when to believe it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
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

    statistic: Callable[[torch.Tensor], torch.Tensor]
    """The statistic of the running average (C, H, W), a scalar on its device."""

    @abstractmethod
    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        """A sentence once the statistics of all steps so far show that it is time, else None."""

    judged: torch.Tensor | None = None
    """Data that can judge the fitted x, (T, C, Y, X), or None: their noise is not in it, but for what
    the `probe` tells."""
    probe: torch.Tensor | None = None
    """Numbers in data units whose covariance with x is that of the data's own noise; None for none."""


class StoppingSettings(Settings, ABC):
    """Settings of one stopping rule."""

    kind: str

    @abstractmethod
    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        """The rule at work on `problem`."""


class _Judged(StoppingSettings):
    """Stop when the error of data that were not fitted no longer falls."""

    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Steps without improvement that end the run, at least. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] = 0.35
    """The same as a part of the steps up to the best one, where that is more."""


class HeldOut(_Judged):
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

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        fitted, judge = problem.hold_out(self.fraction, generator)
        return _JudgedWatch(self, fitted, judge.robust_loss, "the held-out pixels", judge.observed)


class Fission(_Judged):
    """Split the noise of every pixel in two, fit the one half and stop when the other's error is least.

    No pixel is left out, and the half that is fitted has hardly more noise than the data. The noise
    has to be known, and how much of it neighbouring pixels share.

    References
    ----------
    .. [1] Rasines, Young, "Splitting strategies for post-selection inference", Biometrika 110 (2023)
           597, doi:10.1093/biomet/asac070
    """

    kind: Literal["fission"] = "fission"
    strength: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """Noise added to the half that is fitted, in proportion to the data's own."""

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        fitted, judge = problem.split(None, self.strength, problem.generator(generator))
        # The noise that was added to both is no error of the image.
        added = judge.misfit(problem.y)

        def error(x: torch.Tensor) -> torch.Tensor:
            return judge.misfit(judge.predicted(x)) - added

        half = "the half that was not fitted"
        return _JudgedWatch(self, fitted, error, half, problem.observed, problem.y - judge.y)


@dataclass
class _JudgedWatch(Watch):
    settings: _Judged
    fitted: Problem
    statistic: Callable[[torch.Tensor], torch.Tensor]
    judge: str
    judged: torch.Tensor
    probe: torch.Tensor | None = None
    keeps_least: bool = True

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        best = int(np.argmin(statistics)) + 1
        waited = len(statistics) - best
        patience = max(self.settings.patience, self.settings.relative_patience * best)
        if waited < patience:
            return None
        return f"the error of {self.judge} was least at step {best} and did not fall again"


class Automatic(_Judged):
    """Noise fission where noise like the data's own can be drawn; else held-out pixels."""

    kind: Literal["auto"] = "auto"

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        rule = Fission if problem.likelihood.is_known else HeldOut
        patience = {"patience": self.patience, "relative_patience": self.relative_patience}
        return rule.model_validate(patience).watch(problem, generator)


class FixedSteps(StoppingSettings):
    """Go on to the last step and take the running average there."""

    kind: Literal["fixed"] = "fixed"

    def watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        return _FixedWatch(problem, problem.loss)


@dataclass
class _FixedWatch(Watch):
    fitted: Problem
    statistic: Callable[[torch.Tensor], torch.Tensor]
    keeps_least: bool = False

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        return None


if TYPE_CHECKING:
    AnyStopping = StoppingSettings
else:
    AnyStopping = tagged_union(StoppingSettings)
