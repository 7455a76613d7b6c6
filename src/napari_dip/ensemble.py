"""Several fits of one problem: their mean, and how far it may be from the truth."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from napari_dip.problem import Problem, blurred
from napari_dip.settings import Settings
from napari_dip.sources import doubtful, heights, near_sources
from napari_dip.torch_import import torch

if TYPE_CHECKING:
    from napari_dip.stopping import Watch

SMOOTHING = 1.0  # pixels over which the spread of a few members is averaged: alone it is too uncertain
JUDGING = 1.0  # pixels over which data are averaged to judge: there most errors stand out of the noise
EVENLY = 5.0  # pixels over which the spread is averaged to weigh: narrower, and the noise has its say

SKY, SOURCES = 3.0, 11.0  # usual factors, of the simulated fields 1 to 3
UNSURE = 0.03  # part of the noise's variance that is not known
ENOUGH, MOST = 3, 0.8  # fits that can tell, and which part of them has to show a source


class Ensemble(Settings):
    """Several fits, each with its own network, code and split of the data."""

    members: Annotated[int, Field(ge=1, le=100)] = 1
    """How many fits; the result is their mean, and with two or more it has an uncertainty. The time
    grows in proportion."""

    def seeds(self, first: int) -> list[int]:
        """One for each member: the `first`, and others that belong to it alone."""
        others = np.random.default_rng(first).integers(2**31, size=self.members - 1)
        return [first, *others.tolist()]


class Members:
    """The fits to one problem so far, and what is known of their errors."""

    def __init__(self, problem: Problem) -> None:
        self.number = 0
        self._problem = problem
        # Data of 1e-20 squared would vanish in float32; a power of two changes no digit of them.
        self._unit = 2.0 ** math.frexp(float(problem.noise_in_scene.max()))[1]
        self._scene = _Spread()
        self._heights: list[torch.Tensor] = []
        self.averaged, self.plain = Evidence(problem, JUDGING), Evidence(problem, 0.0)

    def add(self, x: torch.Tensor, watch: Watch) -> None:
        """One more scene `x` (C, H, W), and the rule that stopped its fit."""
        self.number += 1
        self._scene.add(x / self._unit)
        if self._problem.operator.copies:
            self._heights.append((heights(x) / self._unit).half().cpu())
        if watch.judged is None:
            return
        predicted = self._problem.predicted(x)
        if self.number == 1:
            self._noise = self._problem.noise(x)
        self.plain.add(predicted, self._noise, watch.judged, watch.probe)
        if watch.probe is not None:  # single pixels that were held out have nothing to be averaged with
            self.averaged.add(predicted, self._noise, watch.judged, watch.probe)

    @property
    def mean(self) -> torch.Tensor:
        """The mean scene, (C, H, W)."""
        return self._scene.mean * self._unit

    def mean_with(self, x: torch.Tensor) -> torch.Tensor:
        """The mean scene, (C, H, W), were `x` one of the members."""
        return (x + self.number * self.mean) / (self.number + 1)

    def doubtful(self) -> list[tuple[int, int]]:
        """Places of small sources in the mean that are not in most of the members; of three at least."""
        if self.number < ENOUGH or not self._heights:
            return []
        places = doubtful(*self._seen(), self._heights, MOST)
        return [(int(y), int(x)) for y, x in places]

    def uncertainty(self) -> tuple[torch.Tensor, float | None]:
        """One standard deviation of the mean scene's error, (C, H, W), and how many spreads that is.

        The members disagree where the data leave them free, but not by as much as they are wrong:
        they share the data and their noise. So their variance is multiplied by the number that makes
        it right for the data that were not fitted; None where there are none. If the data show more
        error than that, pixel by pixel, beyond chance and beyond what is not known of the noise, it is
        in what no member has, like the grain of a photograph, and the same part of the noise
        everywhere.

        In an image that is empty but for small sources there is no grain. Its sky and its sources have
        a number each, drawn half the way to what it usually is: a sky's errors are so small that few
        data tell them from noise.
        """
        variance = blurred(self._scene.variance, SMOOTHING)
        evidence = self.averaged if self.averaged.number else self.plain
        if not evidence.number:
            return variance.sqrt() * self._unit, None
        copies = self._problem.operator.copies
        near = near_sources(*self._seen()) if copies else None
        if near is not None:
            sky, sources = (
                math.sqrt(usual * evidence.factor(part))
                for usual, part in ((SKY, 1 - near), (SOURCES, near))
            )
            calibrated = (sky + near * (sources - sky)) * variance
        else:
            factor = evidence.factor()
            calibrated = factor * variance
            if self.averaged.number and copies:
                calibrated = calibrated + self.plain.rest(factor) * (self._noise[0] / self._unit) ** 2
        ratio = float((calibrated.mean() / variance.mean().clamp(min=1e-30)).sqrt())
        return calibrated.sqrt() * self._unit, ratio

    def _seen(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean, its pixels' noise, and which are observed; (C, H, W), in a unit of their own."""
        noise = self._problem.noise(self.mean)[0]
        return self.mean / self._unit, noise / self._unit, self._problem.observed[0]


class Evidence:
    """What the data that were not fitted say of the members' errors, averaged over `width` pixels."""

    def __init__(self, problem: Problem, width: float) -> None:
        self.number = 0
        self._problem, self._width = problem, width
        self._data = _Spread()
        # Sums over the members, (T, C, Y, X): how often a datum judged, its squared residuals then less
        # the noise's, and the probes alone and times the predicted data; all in units of the noise.
        self._judged, self._squares, self._probes, self._answers = torch.zeros(
            (4, *problem.y.shape), device=problem.y.device
        )

    def add(
        self,
        predicted: torch.Tensor,
        noise: torch.Tensor,
        judged: torch.Tensor,
        probe: torch.Tensor | None,
    ) -> None:
        """One more member's data; which of the given ones judge it; all (T, C, Y, X)."""
        self.number += 1
        if self.number == 1:
            self._first = predicted

        def told(data: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
            return self._average(torch.where(pixels, data / noise, 0.0))

        # Small numbers, which float32 can take sums of; also where another member's data judge.
        beside = told(predicted - self._first, self._problem.observed)
        self._judged += judged
        self._squares += told(self._problem.y - predicted, judged) ** 2
        self._squares -= self._noise_left * self._average(judged.float(), squared=True)
        self._data.add(beside)
        if probe is not None:
            self._probes += told(probe, judged)
            self._answers += told(probe, judged) * beside

    def _average(self, planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
        return blurred(planes, self._width, squared=squared) if self._width else planes

    @cached_property
    def _noise_left(self) -> float:
        """How much more of the noise's variance is left by averaging than of white noise's."""
        point = torch.zeros((33, 33))
        point[16, 16] = 1
        grain = self._problem.likelihood.correlated(point)
        left, white = (float(self._average(kernel).square().sum()) for kernel in (grain, point))
        return left / white / float(grain.square().sum())

    @property
    def known(self) -> torch.Tensor:
        """The data that judged, (T, C, Y, X)."""
        known: torch.Tensor = self._judged > 0
        return known

    def foretold(self) -> torch.Tensor:
        """The members' variance about their mean, in the data that judge, (T, C, Y, X)."""
        foretold: torch.Tensor = blurred(self._data.variance, SMOOTHING)
        return foretold

    def squared_error(self) -> torch.Tensor:
        """An unbiased estimate of the squared error of the mean's data, (T, C, Y, X).

        In units of the noise, of the averaged data. That of the members, (y - A x)^2 - 1
        + 2 cov(A x, noise), less their variance about the mean. The covariance is measured with
        the probes, and about the mean of the other members, which know nothing of a member's
        own probe.

        References
        ----------
        .. [1] Efron, "The estimation of prediction error: covariance penalties and
               cross-validation", J. Am. Stat. Assoc. 99 (2004) 619, eq. (2.8).
        """
        others = max(self.number - 1, 1)
        covariance = (self._answers - self._data.mean * self._probes) / others
        error: torch.Tensor = self._squares / self._judged + 2 * covariance - self.foretold()
        return error

    def factor(self, part: torch.Tensor | None = None) -> float:
        """By how much the squared error exceeds the members' variance, at least 1; or of a `part`.

        Every place counts the same: errors are weighed in units of the variance thereabouts, or a
        few bright stars would decide how wide the sky's interval is.
        """
        foretold = self.foretold()
        weight = 1 / blurred(foretold, EVENLY).clamp(min=1e-30)
        if part is not None:
            weight = weight * part
        error, own = ((data * weight)[self.known].sum() for data in (self.squared_error(), foretold))
        return max(float(error / own.clamp(min=1e-30)), 1.0)

    def rest(self, factor: float) -> float:
        """The mean squared error beyond `factor` times the members' variance, if it can be told."""
        rest = (self.squared_error() - factor * self.foretold())[self.known]
        beyond = float(rest.mean() - rest.std() / rest.numel() ** 0.5)
        return beyond if beyond > UNSURE else 0.0


class _Spread:
    """Mean and variance of some arrays of one shape, without keeping them.

    References
    ----------
    .. [1] Welford, "Note on a method for calculating corrected sums of squares and products",
           Technometrics 4 (1962) 419.
    """

    def __init__(self) -> None:
        self._number = 0
        self.mean = self._squares = torch.zeros(())

    def add(self, array: torch.Tensor) -> None:
        self._number += 1
        before = array - self.mean.to(array)
        self.mean = self.mean.to(array) + before / self._number
        self._squares = self._squares.to(array) + before * (array - self.mean)

    @property
    def variance(self) -> torch.Tensor:
        """The mean square about the mean."""
        return self._squares / max(self._number, 1)
