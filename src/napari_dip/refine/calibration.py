"""Calibration of the uncertainty: what data that were not fitted say about the error of the fits."""

from __future__ import annotations

from functools import cached_property

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem

SPREAD_SIGMA_PX = (
    1.0  # over which the spread of a few fits is averaged: pixel by pixel it is too uncertain
)
WEIGHT_SIGMA_PX = 5.0  # over which it is averaged to weight: over less, noise would bias the weights
PART_PX = 16  # side of the parts of an image whose scatter says how uncertain a ratio is
NOISE_VARIANCE_TOLERANCE = 0.03  # relative uncertainty of the variance of the noise


class HeldOutError:
    """The error of the fits in data that were not fitted, averaged over a Gaussian of `sigma` pixels."""

    def __init__(self, problem: Problem, sigma: float) -> None:
        self.num_fits = 0
        self._problem, self._sigma = problem, sigma
        self._data = RunningVariance()
        # Sums over the fits, (T, C, Y, X), in units of the noise: how often a datum was held out, its
        # squared residuals then without the noise, the probes, and the probes times the predicted data.
        self._held_out, self._squares, self._probe_sum, self._probe_response = torch.zeros(
            (4, *problem.y.shape), device=problem.y.device
        )

    def add(
        self,
        predicted: torch.Tensor,
        noise: torch.Tensor,
        held_out: torch.Tensor,
        probe: torch.Tensor | None,
    ) -> None:
        """Add the predicted data of a fit, their noise, which were held out, and the noise probe.

        All are (T, C, Y, X).
        """
        self.num_fits += 1
        if self.num_fits == 1:
            self._first = predicted

        def normalize(data: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
            return self._average(torch.where(pixels, data / noise, 0.0))

        # Differences from the first fit: small numbers, of which float32 can take sums.
        difference = normalize(predicted - self._first, self._problem.observed)
        self._held_out += held_out
        self._squares += normalize(self._problem.y - predicted, held_out) ** 2
        self._squares -= self._remaining_noise * self._average(held_out.float(), squared=True)
        self._data.add(difference)
        if probe is not None:
            self._probe_sum += normalize(probe, held_out)
            self._probe_response += normalize(probe, held_out) * difference

    def _average(self, planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
        return gaussian_blur(planes, self._sigma, squared=squared) if self._sigma else planes

    @cached_property
    def _remaining_noise(self) -> float:
        """The variance of the noise after averaging, over that of white noise."""
        point = torch.zeros((33, 33))
        point[16, 16] = 1
        noise = self._problem.likelihood.correlate(point)
        correlated, white = (float(self._average(kernel).square().sum()) for kernel in (noise, point))
        return correlated / white / float(noise.square().sum())

    @property
    def used(self) -> torch.Tensor:
        """The data that were held out, (T, C, Y, X) bool."""
        used: torch.Tensor = self._held_out > 0
        return used

    def predicted_variance(self) -> torch.Tensor:
        """Return the variance of the fits about their mean, in the averaged data, (T, C, Y, X)."""
        variance: torch.Tensor = gaussian_blur(self._data.variance, SPREAD_SIGMA_PX)
        return variance

    def squared_error(self) -> torch.Tensor:
        """Return an unbiased estimate of the squared error of the mean of the fits, (T, C, Y, X).

        It is in units of the noise, for the averaged data: the squared error of the fits, (y - A x)^2 -
        1 + 2 cov(A x, noise), less their variance about the mean. The covariance is measured with the
        probes, about the mean of the other fits, which do not depend on the probe of this one.

        References
        ----------
        .. [1] Efron, "The estimation of prediction error: covariance penalties and
               cross-validation", J. Am. Stat. Assoc. 99 (2004) 619, eq. (2.8).
        """
        others = max(self.num_fits - 1, 1)
        covariance = (self._probe_response - self._data.mean * self._probe_sum) / others
        error: torch.Tensor = self._squares / self._held_out + 2 * covariance - self.predicted_variance()
        return error

    def variance_ratio(self, part: torch.Tensor | None = None) -> tuple[float, float]:
        """Return the squared error over the variance of the fits, and the standard error of this ratio.

        Errors are weighted by `part`, and by the inverse of the local variance, so that each place
        counts the same: otherwise a few bright stars would decide how wide the interval of the sky is.
        The standard error is from the scatter of parts of the image, and from the noise, whose level is
        known to a few per cent.
        """
        predicted = self.predicted_variance()
        weight = self.used / gaussian_blur(predicted, WEIGHT_SIGMA_PX).clamp(min=1e-30)
        if part is not None:
            weight = weight * part
        error = torch.where(self.used, self.squared_error(), 0.0) * weight
        spread = predicted * weight
        total = spread.sum().clamp(min=1e-30)
        ratio = float(error.sum() / total)
        scatter = torch.nn.functional.avg_pool2d(
            error - ratio * spread, PART_PX, ceil_mode=True, divisor_override=1
        ).norm()
        level = NOISE_VARIANCE_TOLERANCE * self._remaining_noise * weight.sum()
        return ratio, float(torch.hypot(scatter, level) / total)

    def excess(self, factor: float) -> float:
        """Return the mean squared error beyond `factor` times the variance of the fits, if
        significant.
        """
        excess = (self.squared_error() - factor * self.predicted_variance())[self.used]
        lower_bound = float(excess.mean() - excess.std() / excess.numel() ** 0.5)
        return lower_bound if lower_bound > NOISE_VARIANCE_TOLERANCE else 0.0


class RunningVariance:
    """Mean and variance of arrays of one shape, without storing them.

    References
    ----------
    .. [1] Welford, "Note on a method for calculating corrected sums of squares and products",
           Technometrics 4 (1962) 419.
    """

    def __init__(self) -> None:
        self._number = 0
        self.mean = self._squares = torch.zeros(())

    def add(self, array: torch.Tensor) -> None:
        """Add an array."""
        self._number += 1
        difference = array - self.mean.to(array)
        self.mean = self.mean.to(array) + difference / self._number
        self._squares = self._squares.to(array) + difference * (array - self.mean)

    @property
    def variance(self) -> torch.Tensor:
        """The mean square about the mean."""
        return self._squares / max(self._number, 1)
