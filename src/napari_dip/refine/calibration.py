"""What data that were not fitted say about the error."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem

if TYPE_CHECKING:
    pass


SPREAD_SIGMA_PX = (
    1.0  # pixels over which the spread of a few members is averaged: alone it is too uncertain
)


WEIGHT_SIGMA_PX = (
    5.0  # pixels over which the spread is averaged to weigh: narrower, and the noise has its say
)


NOISE_VARIANCE_TOLERANCE = 0.03  # part of the noise's variance that is not known


class HeldOutError:
    """What the data that were not fitted say of the members' errors, averaged over `width` pixels."""

    def __init__(self, problem: Problem, width: float) -> None:
        self.num_fits = 0
        self._problem, self._width = problem, width
        self._data = RunningVariance()
        # Sums over the members, (T, C, Y, X): how often a datum judged, its squared residuals then less
        # the noise's, and the probes alone and times the predicted data; all in units of the noise.
        self._judged, self._squares, self._probe_sum, self._probe_response = torch.zeros(
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
        self.num_fits += 1
        if self.num_fits == 1:
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
            self._probe_sum += told(probe, judged)
            self._probe_response += told(probe, judged) * beside

    def _average(self, planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
        return gaussian_blur(planes, self._width, squared=squared) if self._width else planes

    @cached_property
    def _noise_left(self) -> float:
        """How much more of the noise's variance is left by averaging than of white noise's."""
        point = torch.zeros((33, 33))
        point[16, 16] = 1
        grain = self._problem.likelihood.correlate(point)
        left, white = (float(self._average(kernel).square().sum()) for kernel in (grain, point))
        return left / white / float(grain.square().sum())

    @property
    def used(self) -> torch.Tensor:
        """The data that judged, (T, C, Y, X)."""
        known: torch.Tensor = self._judged > 0
        return known

    def predicted_variance(self) -> torch.Tensor:
        """The members' variance about their mean, in the data that judge, (T, C, Y, X)."""
        foretold: torch.Tensor = gaussian_blur(self._data.variance, SPREAD_SIGMA_PX)
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
        others = max(self.num_fits - 1, 1)
        covariance = (self._probe_response - self._data.mean * self._probe_sum) / others
        error: torch.Tensor = self._squares / self._judged + 2 * covariance - self.predicted_variance()
        return error

    def variance_ratio(self, part: torch.Tensor | None = None) -> float:
        """By how much the squared error exceeds the members' variance, at least 1; or of a `part`.

        Every place counts the same: errors are weighed in units of the variance thereabouts, or a
        few bright stars would decide how wide the sky's interval is.
        """
        foretold = self.predicted_variance()
        weight = 1 / gaussian_blur(foretold, WEIGHT_SIGMA_PX).clamp(min=1e-30)
        if part is not None:
            weight = weight * part
        error, own = ((data * weight)[self.used].sum() for data in (self.squared_error(), foretold))
        return max(float(error / own.clamp(min=1e-30)), 1.0)

    def excess(self, factor: float) -> float:
        """The mean squared error beyond `factor` times the members' variance, if it can be told."""
        rest = (self.squared_error() - factor * self.predicted_variance())[self.used]
        beyond = float(rest.mean() - rest.std() / rest.numel() ** 0.5)
        return beyond if beyond > NOISE_VARIANCE_TOLERANCE else 0.0


class RunningVariance:
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
