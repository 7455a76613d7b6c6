"""The noise of k-space: the same at every place, coil by coil."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.observation import Observation
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings
from napari_dip.physics.noise.gaussian import GaussianLikelihood

OUTER_KSPACE_FRACTION = (
    0.2  # part of what was sampled that lies farthest from the middle, where there is little but noise
)
MIN_KSPACE_SAMPLES = 200  # samples of each channel


class KSpace(NoiseSettings):
    """Independent Gaussian noise in the real and imaginary parts of k-space.

    K-space is no picture: what tells noise from structure in one says nothing here. The noise is
    measured where the signal is least, far from the middle.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("sigma",)
    kind: Literal["k-space"] = "k-space"
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise in each part; automatic: measured, coil by coil. [data units]"""

    def likelihood(self, frame: Observation, like: Likelihood | None = None) -> Likelihood:
        return self._base_likelihood(frame, like)

    def _base_likelihood(self, frame: Observation, like: Likelihood | None) -> Likelihood:
        y, observed = frame.y[:, :, 0], frame.observed[:, :, 0]
        if self.sigma is not None:
            sigma, origin = np.full((*y.shape[:2], 1, 1), self.sigma), "given"
        else:
            sigma = np.broadcast_to(_outer_kspace_noise(y, observed), (*y.shape[:2], 1, 1))
            origin = "measured far from the middle of k-space"
        total = np.where(observed, sigma, np.inf).astype(np.float32)
        return GaussianLikelihood(np.array(sigma, np.float32), origin, total)


def _outer_kspace_noise(y: FloatArray, observed: BoolArray) -> FloatArray:
    """The noise of each channel, (C, 1, 1), from what was sampled of (T, C, Y, X) far from the middle.

    Of changes from frame to frame where enough was sampled twice in a row: what stands still has no part
    in them.
    """
    from astropy.stats import mad_std

    down, across = (np.abs(np.arange(n) - n // 2) / n for n in y.shape[-2:])
    distance = np.hypot(down[:, None], across)
    sampled = observed.any(axis=(0, 1))
    far = np.where(observed, y, np.nan)[
        ..., sampled & (distance >= np.quantile(distance[sampled], 1 - OUTER_KSPACE_FRACTION))
    ]
    changes = np.diff(far, axis=0) / np.sqrt(2)
    if np.count_nonzero(np.isfinite(changes)) >= MIN_KSPACE_SAMPLES * y.shape[1]:
        far = changes
    noise = mad_std(np.moveaxis(far, 1, 0).reshape(y.shape[1], -1), axis=1, ignore_nan=True)
    least: FloatArray = np.maximum(noise, 1e-6 * np.nanstd(y)).astype(np.float32)[:, None, None]
    return least
