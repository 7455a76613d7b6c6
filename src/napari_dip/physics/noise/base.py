"""Settings of a noise model, and how they become a likelihood once the data are known."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
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
from napari_dip.physics.noise._outliers import detect_cosmic_rays, dilate_tracks
from napari_dip.physics.noise._robust import HuberLikelihood
from napari_dip.physics.stripes import StripeAxes

MAX_NOISE_MISMATCH = 0.15  # relative difference between the measured noise and the specified one
MIN_NOISE_RATIO = 0.05  # of the measured noise over that of the header: none is taken to be less
MAX_SPREAD_RATIO = 0.7  # of the standard deviation of the image over noise that is certainly too large
MIN_SPREAD_PX = 200  # pixels whose standard deviation bounds the noise
MIN_COUNTS = 10  # median photon count from which the noise of counts can be measured
MAX_STEP_SIGMAS = 0.1  # that two neighboring values may differ
MAX_SIGMA_SPREADS = 1000  # standard deviations of the image
MAX_CLIPPED_FRACTION = 0.1  # of all pixels, so near to a limit that noise may have clipped them
MAX_OUTLIER_FRACTION = 0.02  # of all pixels: more are no outliers
_NO_LIMITS = (-math.inf, math.inf)


class NoiseSettings(Settings, ABC):
    """Settings of one noise model."""

    supports_tiling: ClassVar[bool] = True
    """Whether the noise of a part of an image is found from that part, and a sample of the whole."""
    kind: str
    relative_error: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Noise proportional to the signal above the background, as a fraction of it."""
    censored: bool = False
    """Treat pixels at the detector's limits as bounds: saturated or clipped."""
    lower_limit: float | None = None
    """Smallest value the detector reports, where censored; automatic: the minimum of the image, if many
    pixels share it. [data units]"""
    saturation: float | None = None
    """Largest value the detector reports, where censored; automatic: SATURATE of the header, else the
    maximum of the image, if many pixels share it. [data units]"""
    stripes: StripeAxes = "off"
    """Remove an offset of each row, of each column, or of both (auto) from the data before the fit, in
    planes where they certainly have some. They stay in the residual."""
    trust_given: bool = False
    """Use the given noise even where the image contradicts it, and do not measure it."""
    reject_outliers: bool = False
    """Expect hot pixels and cosmic rays: what is sharper than the optics allow counts as missing
    (L.A.Cosmic), with the pixels beside a track, and the loss grows linearly beyond three sigmas
    (Huber)."""

    def likelihood(self, data: FitData, reference: Likelihood | None = None) -> Likelihood:
        """Return the likelihood of `data`.

        Parameters
        ----------
        data : FitData
            What was measured, (T, C, Y, X).
        reference : Likelihood, optional
            That of the whole of which `data` are a part: what would be measured in them is taken from
            it.

        Raises
        ------
        SettingsError
            If a number is neither given nor can be measured, or cannot be that of these data.
        ObservationError
            If the values have too few digits for their noise.
        """
        base = self._base_likelihood(data, reference)
        is_given = base.properties.is_given
        ratio = reference.properties.measured_ratio if reference else self._measure_ratio(base, data)
        source = base.properties.source
        if not is_given and ratio != 1:
            base = base.with_scaled_noise(ratio)
            source = f"{source}, but measured and taken to be {ratio:.2g} times that"
        if reference:
            base = base.with_properties(replace(reference.properties, sigma=base.properties.sigma))
            return self._wrap(base, data.y, self._detect_outliers(base, data.y))
        _check_plausible(base.properties, data)
        limits = self._limits(data) if self.censored else _NO_LIMITS
        outliers = self._detect_outliers(base, data.y)
        base = base.with_properties(
            replace(base.properties, source=source, limits=limits, measured_ratio=ratio)
        )
        base = base.with_properties(self._classify(base, data, outliers))
        return self._wrap(base, data.y, outliers)

    def signal_of_mean(self, mean: FloatArray, data: FitData) -> FloatArray:
        """Return the signal of which `mean` (T, C, Y, X) is the expectation of the `data`."""
        return mean

    def draw(
        self, mean: FloatArray, std: FloatArray, data: FitData, draw_unit: Callable[[], FloatArray]
    ) -> FloatArray:
        """Return other data (T, C, Y, X) with the expectation `mean`.

        Parameters
        ----------
        mean, std : (T, C, Y, X) array
            Expectation and standard deviation of the data.
        data : FitData
            The measured data, with the same noise.
        draw_unit : callable
            Returns new noise (T, C, Y, X) with a standard deviation of 1.
        """
        return mean + std * draw_unit()

    @abstractmethod
    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        """The likelihood as specified, without limits, outliers and correction."""

    def _measure_ratio(self, base: Likelihood, data: FitData) -> float:
        """The measured noise over the specified one; 1 where they agree or it cannot be measured.

        Noise that is given is kept, and only reported, where the measurement differs.
        """
        if base.properties.correlation_sigma:  # of a beam: the smallest scales have no noise
            return 1.0
        is_given, y, inside = base.properties.is_given, data.y, data.observed.copy()
        stabilized = base.stabilize_variance(y)
        few = np.nanmedian(stabilized) < 2 * np.sqrt(MIN_COUNTS)  # whose noise is not Gaussian
        if (is_given and self.trust_given) or (base.is_photon_count and (few or not is_given)):
            return 1.0
        for limit in (y[inside].min(), y[inside].max()):
            if _is_shared(y[inside], limit):
                inside &= y != limit
        if not inside.any():
            return 1.0
        stabilized = np.where(inside, stabilized, np.nan)
        scale = noise_scale(stabilized)
        if scale is None and is_given:  # all that varies is its upper bound
            known = stabilized[np.isfinite(stabilized)].astype(float)
            is_bounded = known.size >= MIN_SPREAD_PX and 0 < known.std() < MAX_SPREAD_RATIO
            scale = float(known.std()) if is_bounded else None
        if scale is None or abs(np.log(scale)) < np.log(1 + MAX_NOISE_MISMATCH):
            return 1.0
        return scale if is_given else max(scale, MIN_NOISE_RATIO)

    def _detect_outliers(self, base: Likelihood, y: FloatArray) -> BoolArray | None:
        """Pixels that are sharper than the optics allow, (T, C, Y, X), where they are to be rejected."""
        if not self.reject_outliers:
            return None
        return detect_cosmic_rays(y, base.std(torch.from_numpy(np.nan_to_num(y))).numpy())

    def _classify(self, base: Likelihood, data: FitData, outliers: BoolArray | None) -> NoiseProperties:
        """The properties of `base` with the kind of the noise, and a source that says all of it."""
        properties = base.properties
        stabilized = np.where(data.observed, base.stabilize_variance(data.y), np.nan)
        kind, width = classify_plane_noise(stabilized), 0.0
        if kind == "heavy-tailed" and base.is_photon_count:
            kind = "white"  # few photons have heavy tails on any scale
        if self.censored and _is_clipped(data.y[data.observed], properties):
            kind = "clipped"
        if properties.correlation_sigma:
            kind, width = "correlated", properties.correlation_sigma
        elif kind == "correlated":
            width = estimate_correlation_sigma(stabilized)
        source = properties.source
        if self.censored:
            limits = zip(("lower limit", "saturation"), properties.limits, strict=True)
            finite = [f"{name} {value:.6g}" for name, value in limits if np.isfinite(value)]
            source += f"; {' and '.join(finite) or 'no limit'} censored"
        if outliers is not None:
            source += f"; {_describe_outliers(outliers)}"
        source += {
            "white": "",
            "correlated": f"; correlated between pixels (as if smoothed by {width:.1f} pixels)",
            "structured": "; correlated between pixels, with structure",
            "heavy-tailed": "; heavy-tailed",
            "clipped": "; clipped at the limits",
        }[kind]
        return replace(properties, kind=kind, correlation_sigma=width, source=source)

    def _wrap(self, base: Likelihood, y: FloatArray, outliers: BoolArray | None) -> Likelihood:
        """The likelihood with bounds in place of data at the limits, and without outliers."""
        likelihood = CensoredLikelihood(base, y) if self.censored else base
        if outliers is None:
            return likelihood
        too_many = outliers.mean() > MAX_OUTLIER_FRACTION
        return HuberLikelihood(likelihood, None if too_many else dilate_tracks(outliers))

    def _limits(self, data: FitData) -> tuple[float, float]:
        """The limits (low, high); infinite where there is none.

        Raises
        ------
        SettingsError
            If hardly any pixel lies between them.
        """
        values = data.y[data.observed]
        low, high = self.lower_limit, self.saturation
        if high is None:
            saturation = Detector.from_header(data.header, data.y).saturation
            shared = float(values.max()) if _is_shared(values, values.max()) else np.inf
            high = shared if saturation is None else min(saturation, shared)
        if low is None:
            low = float(values.min()) if _is_shared(values, values.min()) else -np.inf
        between = np.count_nonzero((values > low) & (values < high))
        if between < 0.1 * values.size:
            raise SettingsError(
                f"the limits {low:.6g} and {high:.6g} censor all but {between:,} of {values.size:,}"
                " pixels: give noise.lower_limit and noise.saturation, or switch noise.censored off"
            )
        return low, high

    def _without_limits(self, data: FitData) -> FloatArray:
        """The data (T, C, Y, X) without those at the limits, whose noise is cut off."""
        if not self.censored:
            return data.y
        low, high = self._limits(data)
        return np.where((data.y > low) & (data.y < high), data.y, np.nan).astype(np.float32)

    def _signal_dependent_std(self, data: FitData) -> FloatArray:
        """The part of the noise that grows with the signal, (T, C, Y, X)."""
        signal = np.nan_to_num(np.abs(data.y - plane_medians(data.y)))
        return (self.relative_error * signal).astype(np.float32)


def _check_plausible(properties: NoiseProperties, data: FitData) -> None:
    """Refuse noise that the values cannot show, or that hides all of them.

    Raises
    ------
    ObservationError
        If the smallest step between two values exceeds a tenth of the noise.
    SettingsError
        If the noise is much larger than the image.
    """
    values = data.y[data.observed]
    level, sigma = float(np.median(np.abs(values))), properties.median_sigma
    step = float(np.spacing(np.float32(level)))
    if properties.is_measurable and step > MAX_STEP_SIGMAS * sigma:
        advice = "give the noise in the units of the image, or " if properties.is_given else ""
        raise ObservationError(
            f"values near {level:.4g} have steps of {step:.2g} in float32, and the noise is {sigma:.2g}:"
            f" {advice}subtract a constant from the image before you convert it to float32"
        )
    spread = float(np.std(values, dtype=float))
    if properties.is_given and sigma > MAX_SIGMA_SPREADS * spread:
        raise SettingsError(
            f"the noise is given as {sigma:.4g}, and the standard deviation of the whole image is"
            f" {spread:.4g}: give the noise in the units of the image",
            setting="noise.sigma",
        )


def _describe_outliers(outliers: BoolArray) -> str:
    if outliers.mean() > MAX_OUTLIER_FRACTION:
        return f"{outliers.mean():.1%} of it is too sharp for optics: undersampled, nothing rejected"
    return f"{int(dilate_tracks(outliers).sum()):,} outlying pixels rejected"


def _is_clipped(values: FloatArray, properties: NoiseProperties) -> bool:
    """Whether noise decides for many pixels on which side of a limit they are."""
    sigma = np.nanmedian(properties.sigma)
    near = [(values != limit) & (np.abs(values - limit) < sigma) for limit in properties.limits]
    return float(np.mean(near[0] | near[1])) > MAX_CLIPPED_FRACTION


def _is_shared(values: FloatArray, value: np.float32) -> bool:
    """Whether so many pixels have exactly this value that it is a limit and not a coincidence."""
    return bool(np.count_nonzero(values == value) >= max(4, 1e-5 * values.size))
