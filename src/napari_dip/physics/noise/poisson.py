"""Photon noise, with and without read noise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.torch_import import torch
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise._estimate import estimate_plane_sigmas, plane_medians
from napari_dip.physics.noise._gaussian import GaussianLikelihood
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import MAX_NOISE_MISMATCH, NoiseSettings

MIN_READ_NOISE_E = 0.3  # electrons: without any, a pixel without photons would be known exactly

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class _Calibration:
    """Gain [electron / data unit], offset [data units] and read noise [electron] of a detector."""

    gain: float
    offset: float
    read_noise: float


class _PhotonSettings(NoiseSettings):
    """Photons counted by a detector."""

    gain: Positive | None = None
    """Electrons per data unit; automatic: from the header. [electron / data unit]"""
    offset: float | None = None
    """Value of a pixel without signal (bias); automatic: from the overscan in the header, else 0.
    [data units]"""

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        detector = Detector.from_header(data.header, data.y)
        gain, offset = self._scale(detector)
        if gain is None:
            raise SettingsError(
                f"{self.kind} noise needs the gain, and {data.header.path or 'the image'} does not"
                " specify it: give noise.gain in electrons per data unit (1 for photon counts)",
                setting="noise.gain",
            )
        calibration = _Calibration(gain, offset, self._read_noise(detector))
        signal = np.maximum(plane_medians(data.y) - offset, 0)
        expected = np.sqrt(signal / gain + (calibration.read_noise / gain) ** 2)
        if reference:
            measured = reference.properties.sigma / reference.properties.measured_ratio
        else:
            measured = estimate_plane_sigmas(data.y)
        numbers = (
            f"gain {gain:.4g}, read noise {calibration.read_noise:.4g} electrons, offset {offset:.5g};"
            f" expected {np.median(expected):.4g}, measured {np.median(measured):.4g}"
        )
        mismatch = abs(np.median(expected / measured) - 1) > MAX_NOISE_MISMATCH
        if reference.properties.header_rejected if reference else self.gain is None and mismatch:
            source = f"estimated, because the image contradicts its header: {numbers}"
            std = np.hypot(measured, self._signal_dependent_std(data)).astype(np.float32)
            sigma = measured.astype(np.float32)
            return GaussianLikelihood(NoiseProperties(sigma, source, header_rejected=True), std)
        source = f"{'given' if self.gain else 'header'}: {numbers}"
        sigma = np.maximum(expected, MIN_READ_NOISE_E / gain).astype(np.float32)
        return _PhotonLikelihood(
            NoiseProperties(sigma, source, is_given=self.gain is not None),
            calibration,
            self._signal_dependent_std(data),
            is_photon_count=self._is_photon_count(data, gain, offset),
        )

    def _scale(self, detector: Detector) -> tuple[float | None, float]:
        """The gain, None if it is not known, and the offset."""
        offset = self.offset if self.offset is not None else detector.offset or 0.0
        return self.gain or detector.gain, offset

    def _read_noise(self, detector: Detector) -> float:
        return 0.0

    def _is_photon_count(self, data: FitData, gain: float, offset: float) -> bool:
        """Whether the data are whole numbers of photons."""
        return False


class Poisson(_PhotonSettings):
    """Photon noise alone: counting detectors, electron-multiplying cameras, confocal microscopes."""

    basic_fields: ClassVar[tuple[str, ...]] = ("gain",)
    kind: Literal["poisson"] = "poisson"

    def draw(
        self, mean: FloatArray, std: FloatArray, data: FitData, draw_unit: Callable[[], FloatArray]
    ) -> FloatArray:
        from scipy.stats import norm, poisson

        gain, offset = self._scale(Detector.from_header(data.header, data.y))
        if gain is None or not self._is_photon_count(data, gain, offset):
            return super().draw(mean, std, data, draw_unit)
        photons = poisson.ppf(norm.cdf(draw_unit()), np.maximum(gain * (mean - offset), 0))
        counts: FloatArray = (photons / gain + offset).astype(np.float32)
        return counts

    def _is_photon_count(self, data: FitData, gain: float, offset: float) -> bool:
        photons = (data.y[data.observed] - offset) * gain
        return bool(photons.min() > -0.01 and np.abs(photons - np.rint(photons)).max() < 0.01)


class PoissonGaussian(_PhotonSettings):
    """Photon noise and read noise: CCD and CMOS detectors."""

    basic_fields: ClassVar[tuple[str, ...]] = ("gain", "read_noise")
    kind: Literal["poisson-gaussian"] = "poisson-gaussian"
    read_noise: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation of the read noise; automatic: from the header, else 0. [electron]"""

    def _read_noise(self, detector: Detector) -> float:
        specified = self.read_noise if self.read_noise is not None else detector.read_noise
        return specified or 0.0


class _PhotonLikelihood(Likelihood):
    """The Poisson likelihood of k + s^2 given m + s^2, all in electrons.

    With s = 0 it is the exact one of photon counts. With read noise of standard deviation s the score,
    (k - m) / (m + s^2), still has mean zero and the right variance at the true m, whatever the
    distribution: it does not bias the estimate, as a variance taken from noisy data would.

    References
    ----------
    .. [1] Snyder, Helstrom, Lanterman, Faisal, White, "Compensation for readout noise in CCD images",
           J. Opt. Soc. Am. A 12 (1995) 272, doi:10.1364/JOSAA.12.000272
    """

    def __init__(
        self,
        properties: NoiseProperties,
        calibration: _Calibration,
        flat_field: FloatArray,
        *,
        is_photon_count: bool,
    ) -> None:
        super().__init__(properties)
        self._gain, self._offset = calibration.gain, calibration.offset
        self._read_noise = calibration.read_noise
        self.is_photon_count = is_photon_count
        spread = np.hypot(self._read_noise, self._gain * flat_field)
        self._variance = torch.from_numpy((spread**2).astype(np.float32))
        # Below this the noise is Gaussian, of this variance: the mean may be negative during the fit.
        self._floor = self._variance.clamp(min=MIN_READ_NOISE_E**2)

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        k = (y - self._offset) * self._gain + self._variance
        m = (mean - self._offset) * self._gain + self._variance
        floor = self._floor
        inside = m.clamp(min=floor)
        top = torch.maximum(k, floor)
        excess = inside - top
        deviance = excess - k * torch.log1p(excess / top)  # not a difference of two large numbers
        below, lacking = m - inside, floor - k  # below is 0 or negative
        dark = lacking.clamp(min=0)
        tail = torch.addcmul(below * torch.add(lacking, below, alpha=0.5), dark, dark, value=0.5)
        return deviance + tail / floor

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        signal = (mean - self._offset) * self._gain
        return torch.sqrt(signal.clamp(min=0) + self._floor) / self._gain

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        signal = (mean - self._offset) * self._gain
        variance = (signal.clamp(min=0) + self._read_noise**2).clamp(min=MIN_READ_NOISE_E**2)
        return torch.sqrt(variance) / self._gain

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        """Return the generalized Anscombe transform, 2 sqrt(k + 3/8 + s^2).

        References
        ----------
        .. [1] Starck, Murtagh, Bijaoui, "Image processing and data analysis", Cambridge 1998.
        """
        k = (y - self._offset) * self._gain
        return np.asarray(2 * np.sqrt(np.maximum(k + 3 / 8 + self._read_noise**2, 0)), np.float32)

    def with_scaled_noise(self, factor: float) -> Self:
        # The same signal in fewer electrons; what is not new in each exposure stays as it is.
        changed = copy.copy(self)
        share = 1 / factor**2
        changed.properties = self._scale_sigma(factor)
        changed._gain, changed._read_noise = share * self._gain, math.sqrt(share) * self._read_noise
        flat = self._variance - self._read_noise**2
        changed._variance = share**2 * flat + changed._read_noise**2
        changed._floor = changed._variance.clamp(min=MIN_READ_NOISE_E**2)
        return changed

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, alpha: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two thinned versions of photon counts, which are independent however few there are."""
        if not self.is_photon_count or y.device.type == "mps":  # which draws no binomial numbers
            return super().split(y, mean, alpha, generator)
        share = 1 / (1 + alpha**2)
        photons = ((y - self._offset) * self._gain).round().clamp(min=0)
        thinned = torch.binomial(photons, torch.full_like(photons, share), generator)
        return (
            thinned / share / self._gain + self._offset,
            (photons - thinned) / (1 - share) / self._gain + self._offset,
        )
