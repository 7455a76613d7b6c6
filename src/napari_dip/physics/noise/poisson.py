"""Noise of counted photons, with and without the noise of reading them."""

from __future__ import annotations

import copy
import math
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise._estimate import estimate_plane_sigmas, plane_medians
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import MAX_NOISE_MISMATCH, NoiseSettings
from napari_dip.physics.noise.gaussian import GaussianLikelihood

MIN_READ_NOISE_E = (
    0.3  # electrons of noise at the least: pixels without any photon would be known exactly
)

Positive = Annotated[float, Field(gt=0)]


class _PhotonSettings(NoiseSettings):
    """Photons counted by a detector."""

    gain: Positive | None = None
    """Electrons in one data unit; automatic: the header's. [electron / data unit]"""
    offset: float | None = None
    """Value of a pixel without light, the bias; automatic: the header's overscan, else 0.
    [data units]"""

    def _base_likelihood(self, frame: Observation, like: Likelihood | None) -> Likelihood:
        sensor = Detector.from_header(frame)
        y = frame.y[:, :, 0]
        gain = self.gain or sensor.gain
        if gain is None:
            raise SettingsError(
                f"{self.kind} noise needs the gain, and {frame.header.path or 'the image'} does not"
                " say it: give noise.gain in electrons per data unit (1 for photon counts)",
                setting="noise.gain",
            )
        offset = self.offset if self.offset is not None else sensor.offset or 0.0
        read_noise = self._read_noise(sensor)
        light = np.maximum(plane_medians(y) - offset, 0)
        expected = np.sqrt(light / gain + (read_noise / gain) ** 2)
        measured = like.sigma / like.measured_ratio if like else estimate_plane_sigmas(y)
        said = f"gain {gain:.4g}, read noise {read_noise:.4g} electrons, offset {offset:.5g}"
        compared = f"expected {np.median(expected):.4g}, measured {np.median(measured):.4g}"
        unlike = abs(np.median(expected / measured) - 1) > MAX_NOISE_MISMATCH
        if like.header_rejected if like else self.gain is None and unlike:
            origin = f"estimated, for the header is not true of this image: {said}; {compared}"
            total = np.hypot(measured, self._signal_dependent_std(frame)).astype(np.float32)
            found = GaussianLikelihood(measured.astype(np.float32), origin, total)
            found.header_rejected = True
            return found
        origin = f"{'given' if self.gain else 'header'}: {said}; {compared}"
        sigma = np.maximum(expected, MIN_READ_NOISE_E / gain).astype(np.float32)
        return _PhotonLikelihood(
            sigma,
            origin,
            gain,
            offset,
            read_noise,
            self._signal_dependent_std(frame),
            counted=self._is_photon_count(frame, gain, offset),
        )

    def _read_noise(self, sensor: Detector) -> float:
        return 0.0

    def _is_photon_count(self, frame: Observation, gain: float, offset: float) -> bool:
        """Whether the data are counts of single photons."""
        return False


class Poisson(_PhotonSettings):
    """Photon noise alone: counting detectors, electron-multiplying cameras, confocal microscopes."""

    basic_fields: ClassVar[tuple[str, ...]] = ("gain",)
    kind: Literal["poisson"] = "poisson"

    def _is_photon_count(self, frame: Observation, gain: float, offset: float) -> bool:
        photons = (frame.y[frame.observed] - offset) * gain
        return bool(photons.min() > -0.01 and np.abs(photons - np.rint(photons)).max() < 0.01)


class PoissonGaussian(_PhotonSettings):
    """Photon noise and the noise of reading: CCD and CMOS detectors."""

    basic_fields: ClassVar[tuple[str, ...]] = ("gain", "read_noise")
    kind: Literal["poisson-gaussian"] = "poisson-gaussian"
    read_noise: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation of reading one pixel; automatic: the header's, else 0. [electron]"""

    def _read_noise(self, sensor: Detector) -> float:
        given = self.read_noise if self.read_noise is not None else sensor.read_noise
        return given or 0.0


class _PhotonLikelihood(Likelihood):
    """The Poisson likelihood of k + s^2 given m + s^2, all in electrons.

    With s = 0 it is that of counted photons. With read noise of standard deviation s the score,
    (k - m) / (m + s^2), still has the mean zero and the right variance at the true m, whatever the
    distribution: nothing is biased, as it would be with a variance taken from the noisy data.

    References
    ----------
    .. [1] Snyder, Helstrom, Lanterman, Faisal, White, "Compensation for readout noise in CCD images",
           J. Opt. Soc. Am. A 12 (1995) 272, doi:10.1364/JOSAA.12.000272
    """

    def __init__(
        self,
        sigma: FloatArray,
        origin: str,
        gain: float,
        offset: float,
        read_noise: float,
        flat_field: FloatArray,
        *,
        counted: bool,
    ) -> None:
        self.sigma, self.source = sigma, origin
        self._gain, self._offset, self._read_noise = gain, offset, read_noise
        self.is_photon_count = counted
        spread = np.hypot(read_noise, gain * flat_field)
        self._variance = torch.from_numpy((spread**2).astype(np.float32))
        # Below this the noise is Gaussian, of this variance: a mean may be negative on its way.
        self._least = self._variance.clamp(min=MIN_READ_NOISE_E**2)

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        k = (y - self._offset) * self._gain + self._variance
        m = (mean - self._offset) * self._gain + self._variance
        least = self._least
        inside = m.clamp(min=least)
        top = torch.maximum(k, least)
        excess = inside - top
        deviance = excess - k * torch.log1p(excess / top)  # no difference of two large numbers
        below, lacking = m - inside, least - k  # below is 0 or negative
        dark = lacking.clamp(min=0)
        tail = torch.addcmul(below * torch.add(lacking, below, alpha=0.5), dark, dark, value=0.5)
        return deviance + tail / least

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        light = (mean - self._offset) * self._gain
        return torch.sqrt(light.clamp(min=0) + self._least) / self._gain

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        light = (mean - self._offset) * self._gain
        variance = (light.clamp(min=0) + self._read_noise**2).clamp(min=MIN_READ_NOISE_E**2)
        return torch.sqrt(variance) / self._gain

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        """The generalised Anscombe transform: 2 sqrt(k + 3/8 + s^2).

        References
        ----------
        .. [1] Starck, Murtagh, Bijaoui, "Image processing and data analysis", Cambridge 1998.
        """
        k = (y - self._offset) * self._gain
        return np.asarray(2 * np.sqrt(np.maximum(k + 3 / 8 + self._read_noise**2, 0)), np.float32)

    def with_scaled_noise(self, factor: float) -> Self:
        # The same light in fewer electrons; what is not new in every exposure stays as it is.
        changed = copy.copy(self)
        share = 1 / factor**2
        changed.sigma = factor * self.sigma
        changed._gain, changed._read_noise = share * self._gain, math.sqrt(share) * self._read_noise
        flat = self._variance - self._read_noise**2
        changed._variance = share**2 * flat + changed._read_noise**2
        changed._least = changed._variance.clamp(min=MIN_READ_NOISE_E**2)
        return changed

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Single photons are dealt out, each to one half: exact however few there are."""
        if not self.is_photon_count or y.device.type == "mps":  # Apple's GPUs draw no binomial numbers
            return super().split(y, mean, strength, generator)
        share = 1 / (1 + strength**2)
        photons = ((y - self._offset) * self._gain).round().clamp(min=0)
        dealt = torch.binomial(photons, torch.full_like(photons, share), generator)
        return (
            dealt / share / self._gain + self._offset,
            (photons - dealt) / (1 - share) / self._gain + self._offset,
        )
