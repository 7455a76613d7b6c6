"""What every noise model is, and what any of them can be told besides: limits and outliers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise._censored import CensoredLikelihood
from napari_dip.physics.noise._estimate import (
    classify_plane_noise,
    estimate_correlation_sigma,
    noise_scale,
    plane_medians,
)
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise._outliers import detect_cosmic_rays
from napari_dip.physics.noise._robust import HuberLikelihood

MAX_NOISE_MISMATCH = 0.15  # part by which the noise may differ from what is said of it
MAX_CLIPPED_FRACTION = (
    0.1  # part of all pixels, so near to a limit that noise might have carried them beyond
)
MIN_NOISE_RATIO = 0.05  # times the noise that was told: an image without any has at least so much
NO_LIMITS = (-math.inf, math.inf)


class NoiseSettings(Settings, ABC):
    """Settings of one noise model."""

    kind: str
    relative_error: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Noise in proportion to the signal above the background, a part of it."""
    censored: bool = False
    """Pixels at the detector's limits say only 'at least' or 'at most' this: saturated, clipped."""
    lower_limit: float | None = None
    """Lowest value that can be told, where censored; automatic: the image's least, if it is shared
    by many pixels. [data units]"""
    saturation: float | None = None
    """Highest value that can be told, where censored; automatic: the header's SATURATE, else the
    image's greatest, if it is shared by many pixels. [data units]"""
    reject_outliers: bool = False
    """Expect hot pixels and cosmic rays that nobody painted: what is sharper than the optics allow
    counts as missing (L.A.Cosmic), with the rims of tracks; and beyond three sigmas the loss grows
    in proportion (Huber)."""

    def likelihood(self, frame: Observation, like: Likelihood | None = None) -> Likelihood:
        """The likelihood of one frame, an observation of shape (T, C, 1, Y, X).

        What would be measured in the frame is taken from `like`, where that is given: the likelihood of
        the whole of which `frame` is a part.

        Raises
        ------
        SettingsError
            If a number is neither given nor to be found.
        """
        told = self._base_likelihood(frame, like)
        found = told.with_scaled_noise(like.measured_ratio) if like else self._calibrate(told, frame)
        correction, is_refuted = found.measured_ratio, told.header_rejected
        y = frame.y[:, :, 0]
        low, high = like.limits if like else self._limits(frame) if self.censored else NO_LIMITS
        if self.censored:
            found = CensoredLikelihood(found, y, low, high)
            limits = (("floor", low), ("ceiling", high))
            shown = [f"{name} {value:.6g}" for name, value in limits if np.isfinite(value)]
            found.source += f"; {' and '.join(shown) or 'no limit'} censored"
        if self.reject_outliers:
            noise = found.std(torch.from_numpy(np.nan_to_num(y))).numpy()
            found = HuberLikelihood(found, detect_cosmic_rays(y, noise))
        found.limits, found.measured_ratio, found.header_rejected = (low, high), correction, is_refuted
        if like:
            found.kind, found.correlation_sigma, found.source = (
                like.kind,
                like.correlation_sigma,
                like.source,
            )
            return found
        known = np.where(frame.observed[:, :, 0], found.stabilize_variance(frame.y[:, :, 0]), np.nan)
        found.kind = classify_plane_noise(known)
        if found.kind == "heavy-tailed" and found.is_photon_count:
            found.kind = "white"  # few photons have long tails on any scale
        if self.censored and _is_clipped(y[frame.observed[:, :, 0]], (low, high), found):
            found.kind = "clipped"
        if found.kind == "correlated":
            found.correlation_sigma = estimate_correlation_sigma(known)
        found.source += {
            "white": "",
            "correlated": f"; neighbouring pixels share it (as if smoothed by {found.correlation_sigma:.1f} pixels)",
            "structured": "; neighbouring pixels share it, as structure does",
            "heavy-tailed": "; it has long tails",
            "clipped": "; it is cut off at the limits",
        }[found.kind]
        return found

    @abstractmethod
    def _base_likelihood(self, frame: Observation, like: Likelihood | None) -> Likelihood:
        """The likelihood without limits, outliers and corrections."""

    def _calibrate(self, told: Likelihood, frame: Observation) -> Likelihood:
        """What was `told` of the noise, corrected where the image shows another strength of it."""
        if told.is_photon_count:
            return told
        y, inside = frame.y[:, :, 0], frame.observed[:, :, 0].copy()
        for limit in (y[inside].min(), y[inside].max()):
            if _is_shared(y[inside], limit):
                inside &= y != limit
        found = (
            noise_scale(np.where(inside, told.stabilize_variance(y), np.nan)) if inside.any() else None
        )
        if found is None or abs(np.log(found)) < np.log(1 + MAX_NOISE_MISMATCH):
            return told
        corrected = told.with_scaled_noise(max(found, MIN_NOISE_RATIO))
        corrected.measured_ratio = max(found, MIN_NOISE_RATIO)
        corrected.source = f"{told.source}, but measured and taken to be {found:.2g} times that"
        return corrected

    def _limits(self, frame: Observation) -> tuple[float, float]:
        """The limits (low, high); infinite where there is none.

        Raises
        ------
        SettingsError
            If they leave hardly anything between them.
        """
        known = frame.y[frame.observed]
        low, high = self.lower_limit, self.saturation
        if high is None:
            saturation = Detector.from_header(frame).saturation
            shared = float(known.max()) if _is_shared(known, known.max()) else np.inf
            high = shared if saturation is None else min(saturation, shared)
        if low is None:
            low = float(known.min()) if _is_shared(known, known.min()) else -np.inf
        between = np.count_nonzero((known > low) & (known < high))
        if between < 0.1 * known.size:
            raise SettingsError(
                f"the limits {low:.6g} and {high:.6g} censor all but {between:,} of {known.size:,}"
                " pixels: give noise.lower_limit and noise.saturation, or switch noise.censored off"
            )
        return low, high

    def _without_limits(self, frame: Observation) -> FloatArray:
        """The data (T, C, Y, X) but those at the limits: noise that is cut off is no measure of it."""
        y = frame.y[:, :, 0]
        if not self.censored:
            return y
        low, high = self._limits(frame)
        return np.where((y > low) & (y < high), y, np.nan).astype(np.float32)

    def _signal_dependent_std(self, frame: Observation) -> FloatArray:
        """The part of the noise that grows with the signal, (T, C, Y, X)."""
        y = frame.y[:, :, 0]
        signal = np.nan_to_num(np.abs(y - plane_medians(y)))
        return (self.relative_error * signal).astype(np.float32)


def _is_clipped(values: FloatArray, limits: tuple[float, float], noise: Likelihood) -> bool:
    """Whether noise, and not light alone, decides in many pixels on which side of a limit they are."""
    sigma = np.nanmedian(noise.sigma)
    near = [(values != limit) & (np.abs(values - limit) < sigma) for limit in limits]
    return float(np.mean(near[0] | near[1])) > MAX_CLIPPED_FRACTION


def _is_shared(values: FloatArray, value: np.float32) -> bool:
    """Whether so many pixels have exactly this value that it is a limit and not a coincidence."""
    return bool(np.count_nonzero(values == value) >= max(4, 1e-5 * values.size))
