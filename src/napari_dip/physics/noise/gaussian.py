"""Gaussian noise, uniform or pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.physics.beam import beam_sigma, estimate_beam_noise
from napari_dip.physics.noise._estimate import (
    estimate_plane_sigmas,
    has_measurable_noise,
    is_sparse_count,
)
from napari_dip.physics.noise._gaussian import GaussianLikelihood
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings
from napari_dip.physics.noise.poisson import Poisson

SPARSE_COUNTS = "photon counts, most of them 0: Poisson noise"
TINY_SIGMA = 1e-3  # times the median of an error plane, below which a value is no error


class Gaussian(NoiseSettings):
    """Independent Gaussian noise, of uniform strength or pixel by pixel.

    The variance is sigma^2 + (relative_error * |y - background|)^2. The second term stands for whatever
    grows with the signal (flat-field errors, photon noise of bright objects): without it the few
    brightest stars of an image would dominate the loss. It hardly changes faint pixels.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("sigma",)
    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise; automatic: that of the noise layer or error plane, else estimated
    from the image. Photon counts that are mostly 0 have Poisson noise. [data units]"""

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        if self.sigma is None and "sigma" not in data.auxiliary and _is_sparse(data, reference):
            counts = Poisson(gain=1.0, offset=0.0, relative_error=self.relative_error)
            likelihood = counts._base_likelihood(data, reference)
            properties = replace(likelihood.properties, source=SPARSE_COUNTS, is_given=False)
            return likelihood.with_properties(properties)
        shape, is_measurable, width = (*data.y.shape[:2], 1, 1), True, 0.0
        if self.sigma is not None:
            sigma, source = np.full(shape, self.sigma), "given"
        elif "sigma" in data.auxiliary:
            sigma, source = _raise_tiny(np.where(data.observed, data.auxiliary["sigma"], np.nan))
        elif reference:
            known = reference.properties
            sigma, source = known.sigma / known.measured_ratio, known.source
        elif width := beam_sigma(data.header, data.y):
            sigma = np.full(shape, estimate_beam_noise(self._without_limits(data), width))
            source = "estimated; as wide as the beam"
        else:
            y = self._without_limits(data)
            sigma, source = estimate_plane_sigmas(y), "estimated"
            is_measurable = all(
                has_measurable_noise(plane, found)
                for plane, found in zip(y.reshape(-1, *y.shape[-2:]), sigma.flat, strict=True)
            )
            if not is_measurable:
                source = "not measurable, and guessed from the spread of the image"
        std = np.hypot(np.where(data.observed, sigma, np.inf), self._signal_dependent_std(data))
        is_given = self.sigma is not None or "sigma" in data.auxiliary
        properties = NoiseProperties(
            np.asarray(sigma, np.float32),
            source,
            correlation_sigma=width,
            is_given=is_given,
            is_uniform=self.sigma is not None,
            is_measurable=is_measurable,
        )
        return GaussianLikelihood(properties, std.astype(np.float32))


def _is_sparse(data: FitData, reference: Likelihood | None) -> bool:
    if reference:
        return reference.properties.source.startswith(SPARSE_COUNTS)
    return is_sparse_count(data.y)


def _raise_tiny(sigma: FloatArray) -> tuple[FloatArray, str]:
    """An error plane whose tiny values are the median instead, and its source.

    Such pixels would outweigh all others. They have no counts, or no known error.
    """
    median = np.nanmedian(sigma)
    tiny = sigma < TINY_SIGMA * median
    if not tiny.any():
        return sigma, "error plane"
    share = f"{tiny.mean():.2g} of it below a thousandth of the median, and taken to be the median"
    return np.where(tiny, median, sigma), f"error plane; {share}"
