"""Noise of k-space: the same at all frequencies, coil by coil."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.physics.noise._gaussian import GaussianLikelihood
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings

OUTER_KSPACE_FRACTION = (
    0.2  # of the samples, those farthest from the center, where the signal is weakest
)
MIN_KSPACE_SAMPLES = 200  # of each channel


class KSpace(NoiseSettings):
    """Independent Gaussian noise in the real and imaginary parts of k-space.

    K-space is no image, so that estimators for images do not apply. The noise is measured far from the
    center, where the signal is weakest.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("sigma",)
    kind: Literal["k-space"] = "k-space"
    stripes: Literal["off"] = "off"
    """K-space has none."""
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise in each part; automatic: measured, coil by coil. [data units]"""

    def likelihood(self, data: FitData, reference: Likelihood | None = None) -> Likelihood:
        return self._base_likelihood(data, reference)

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        shape = (*data.y.shape[:2], 1, 1)
        if self.sigma is not None:
            sigma, source = np.full(shape, self.sigma), "given"
        else:
            sigma = np.broadcast_to(_outer_kspace_noise(data.y, data.observed), shape)
            source = "measured in outer k-space"
        std = np.where(data.observed, sigma, np.inf).astype(np.float32)
        return GaussianLikelihood(NoiseProperties(np.array(sigma, np.float32), source), std)


def _outer_kspace_noise(y: FloatArray, observed: BoolArray) -> FloatArray:
    """The noise of each channel, (C, 1, 1), from samples (T, C, Y, X) far from the center.

    Where enough was sampled in two successive frames, from the differences between them, in which static
    signal cancels.
    """
    from astropy.stats import mad_std

    down, across = (np.abs(np.arange(n) - n // 2) / n for n in y.shape[-2:])
    distance = np.hypot(down[:, None], across)
    sampled = observed.any(axis=(0, 1))
    outer = np.where(observed, y, np.nan)[
        ..., sampled & (distance >= np.quantile(distance[sampled], 1 - OUTER_KSPACE_FRACTION))
    ]
    differences = np.diff(outer, axis=0) / np.sqrt(2)
    if np.count_nonzero(np.isfinite(differences)) >= MIN_KSPACE_SAMPLES * y.shape[1]:
        outer = differences
    noise = mad_std(np.moveaxis(outer, 1, 0).reshape(y.shape[1], -1), axis=1, ignore_nan=True)
    floor: FloatArray = np.maximum(noise, 1e-6 * np.nanstd(y)).astype(np.float32)[:, None, None]
    return floor
