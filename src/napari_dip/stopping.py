"""Stopping: a statistic of the run, and when to believe it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.noise import Character
from napari_dip.problem import Problem, mean_over
from napari_dip.settings import Settings, tagged_union
from napari_dip.torch_import import torch

NOISY = 2.0  # times the usual noise, beyond which pixels have a best step of their own
BRIGHT = 5.0  # times the usual noise from the usual level, likewise
PIXELS = 2**13  # of the images of a window, that are compared
SETTLED = 100  # steps after which the running average shows the scene; none before is the best


def step_of_least(statistics: NDArray[np.float32]) -> int:
    """The step, from 1, at which the statistic was least since the average settled; the last before."""
    early = min(len(statistics), SETTLED) - 1
    return int(np.nanargmin(statistics[early:])) + early + 1


class Apart(NamedTuple):
    """Pixels that have a best step of their own."""

    pixels: torch.Tensor
    """Which, (C, H, W)."""
    errors: torch.Tensor
    """The error of each, as data see it that were not fitted; (C, H, W)."""
    misfit: torch.Tensor
    """How far they are from the data that were, a scalar; they are learnt when it no longer falls, or
    they get worse."""


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
    apart: Callable[[torch.Tensor], Apart] | None = None
    """The pixels of the running average (C, H, W) that have a best step of their own; None for no
    such rule."""


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


class _Patient(StoppingSettings):
    """Stop when a statistic no longer falls."""

    patience: Annotated[int, Field(ge=10, le=10_000)] = 150
    """Steps without improvement that end the run, at least. [step]"""
    relative_patience: Annotated[float, Field(ge=0, le=10)] = 0.35
    """The same as a part of the steps up to the best one, where that is more."""


class HeldOut(_Patient):
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

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        fitted, judge = problem.hold_out(self.fraction, generator)

        def error(average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return judge.robust_loss(average)

        return _PatientWatch(self, fitted, error, "error of the held-out pixels", judge.observed)


class Fission(_Patient):
    """Split the noise of every pixel in two, fit the one half and stop when the other's error is least.

    No pixel is left out, and the half that is fitted has hardly more noise than the data. The noise
    has to be known, and how much of it neighbouring pixels share. Stars, pixels with more than twice the
    usual noise or far above it, are learnt later than the sky. They are taken from the last step that
    is not worse for them, beyond chance, than their best one; the run ends when they are learnt.

    References
    ----------
    .. [1] Rasines, Young, "Splitting strategies for post-selection inference", Biometrika 110 (2023)
           597, doi:10.1093/biomet/asac070
    """

    kind: Literal["fission"] = "fission"
    strength: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """Noise added to the half that is fitted, in proportion to the data's own."""

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        fitted, judge = problem.split(None, self.strength, problem.generator(generator))
        halves = _Halves(problem, fitted, judge)
        half = "error of the half that was not fitted"
        probe = problem.y - judge.y
        watch = _PatientWatch(self, fitted, halves.error, half, problem.observed, probe)
        watch.apart = halves.apart if halves.has_stars else None
        return watch


class _Halves:
    """Two halves of the data: what the one that was not fitted says of the running average."""

    def __init__(self, problem: Problem, fitted: Problem, judge: Problem) -> None:
        self._problem, self._fitted, self._judge = problem, fitted, judge
        # The noise that was added to both is no error of the image.
        self._added = judge.likelihood.nll(problem.y, judge.y)
        smooth = problem.smoothed()
        usual = self._usual(problem.likelihood.random(smooth).expand_as(smooth))
        self._bright = (smooth - self._usual(problem.y)).abs() > BRIGHT * usual
        self._seen: tuple[torch.Tensor, ...] = ()
        self.has_stars = problem.operator.copies and bool(self._stars(problem.y).any())

    def error(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The mean error of the running average (C, H, W), without the stars; a scalar."""
        _, mean, stars = self._look(average)
        return mean_over(self._problem.observed & ~stars, self._errors(mean))

    def apart(self, average: torch.Tensor) -> Apart:
        """The stars."""
        _, mean, stars = self._look(average)
        misfit = mean_over(stars, self._fitted.likelihood.nll(mean, self._fitted.y))
        return Apart(stars[0], self._errors(mean)[0], misfit)

    def _look(self, average: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The average, the data that it predicts, and which of them are stars: asked twice a step."""
        if not self._seen or self._seen[0] is not average:
            mean = self._problem.predicted(average)
            stars = self._stars(mean) if self.has_stars else torch.zeros_like(self._problem.observed)
            self._seen = (average, mean, stars)
        return self._seen

    def _errors(self, mean: torch.Tensor) -> torch.Tensor:
        return self._judge.likelihood.nll(mean, self._judge.y) - self._added

    def _stars(self, mean: torch.Tensor) -> torch.Tensor:
        noise = self._problem.likelihood.random(mean).expand_as(mean)
        return self._problem.observed & (self._bright | (noise > NOISY * self._usual(noise)))

    def _usual(self, values: torch.Tensor) -> torch.Tensor:
        """The median of each channel's observed `values` (T, C, Y, X), as (C, 1, 1)."""
        observed = self._problem.observed
        planes = torch.where(observed, values, torch.inf).movedim(1, 0).flatten(1).sort(dim=1).values
        middles = (observed.movedim(1, 0).flatten(1).sum(dim=1, keepdim=True) - 1) // 2
        return planes.gather(1, middles.clamp(min=0))[..., None]


class Variance(_Patient):
    """Stop when the images of many steps differ least: the scene is learnt, and no noise yet.

    It knows nothing of the noise, and needs no pixel of its own: for noise that neighbours share in
    ways that nobody knows.

    References
    ----------
    .. [1] Wang, Li, Zhuang, Chen, Liang, Sun, "Early stopping for deep image prior", TMLR 2023; both
           its windowed and its exponential variance.
    """

    kind: Literal["variance"] = "variance"
    window: Annotated[int, Field(ge=10, le=1000)] = 250
    """Steps that are compared. [step]"""
    weights: Literal["equal", "exponential"] = "equal"
    """All steps of the window alike, or the more the later."""

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        values, observed = problem.scene_values()
        start = values[observed].var()  # before anything is learnt
        if self.weights == "exponential":
            return _PatientWatch(self, problem, _Fading(self.window, start), "variance of the images")
        some = torch.randint(math.prod(problem.operator.scene_shape), (PIXELS,), generator=generator)
        spread = _Window(self.window, start, some.to(problem.y.device))
        return _PatientWatch(self, problem, spread, "variance of the images")


class _Window:
    """The variance of the last images, at some of their pixels."""

    def __init__(self, length: int, start: torch.Tensor, pixels: torch.Tensor) -> None:
        self._start, self._pixels = start, pixels
        self._images = torch.zeros((length, len(pixels)), device=pixels.device)
        self._number = 0

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        length = len(self._images)
        self._images[self._number % length] = x.detach().flatten()[self._pixels]
        self._number += 1
        seen = min(self._number, length)
        # Until the window is full the rest of it counts as if nothing had been learnt.
        spread = self._images[:seen].var(dim=0, correction=0).mean()
        return spread + (1 - seen / length) * self._start


class _Fading:
    """The variance of all images, the earlier the less."""

    def __init__(self, length: int, start: torch.Tensor) -> None:
        self._kept, self._variance = 1 - 1 / length, start
        self._mean: torch.Tensor | None = None

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        self._mean = x if self._mean is None else self._mean
        away = x - self._mean
        self._variance = self._kept * (self._variance + (1 - self._kept) * (away**2).mean())
        self._mean = self._mean + (1 - self._kept) * away
        return self._variance


@dataclass
class _PatientWatch(Watch):
    settings: _Patient
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


class Automatic(_Patient):
    """By what is known of the noise.

    Noise fission where it is independent from pixel to pixel and as its model says. The variance of the
    images where neighbours share it: how they do is measured, but compression, say, does it in its own
    way. Held-out pixels where it has long tails, and where it cannot be told from structure.
    """

    kind: Literal["auto"] = "auto"

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        rules: dict[Character, type[_Patient]] = {"white": Fission, "correlated": Variance}
        rule = rules.get(problem.likelihood.character, HeldOut)
        patience = {"patience": self.patience, "relative_patience": self.relative_patience}
        return rule.model_validate(patience).watch(problem, generator)


class FixedSteps(StoppingSettings):
    """Go on to the last step and take the running average there."""

    kind: Literal["fixed"] = "fixed"

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        return _FixedWatch(problem, lambda average, x: problem.loss(average))


@dataclass
class _FixedWatch(Watch):
    fitted: Problem
    statistic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    keeps_least: bool = False

    def reason_to_stop(self, statistics: NDArray[np.float32]) -> str | None:
        return None


if TYPE_CHECKING:
    AnyStopping = StoppingSettings
else:
    AnyStopping = tagged_union(StoppingSettings)
