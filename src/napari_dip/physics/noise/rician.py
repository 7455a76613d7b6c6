"""Noise of magnitudes, as of magnetic resonance images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.physics.noise._estimate import estimate_sigma
from napari_dip.physics.noise._gaussian import GaussianLikelihood
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise._quiet_blocks import all_blocks
from napari_dip.physics.noise.base import NoiseSettings

HIGHEST = 10.0  # signal over noise, from which magnitudes have Gaussian noise
SIDE_PX = 5  # of the square whose mean is the brightness of a pixel
AIR_BLOCK_PX = 6
MIN_AIR_BLOCKS, MIN_AIR_SHARE = 10, 0.05  # of all blocks
MAX_AIR_MEAN = 1.6  # times the noise
MAX_AIR_MISMATCH, MAX_MEDIAN_MISMATCH = 0.25, 0.1  # of the ratio of standard deviation and mean


class Rician(NoiseSettings):
    """Magnitudes of complex data, whose real and imaginary parts have Gaussian noise.

    Where there is no signal their standard deviation is 0.66 times that of the parts, and their mean
    1.25 times that; from a signal of three times the noise on they are nearly Gaussian. The restored
    image is the mean of the magnitudes.

    References
    ----------
    .. [1] Koay, Basser, "Analytically exact correction scheme for signal extraction from noisy magnitude
           MR signals", J. Magn. Reson. 179 (2006) 317, doi:10.1016/j.jmr.2006.01.016.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("sigma",)
    kind: Literal["rician"] = "rician"
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise in the real and in the imaginary part; automatic: estimated.
    [data units]"""

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        if reference:
            known = reference.properties
            sigma = np.nanmax(known.sigma, axis=(2, 3), keepdims=True) / known.measured_ratio
            source = known.source
        else:
            sigma = self._sigmas(data)
            source = "estimated" if self.sigma is None else "given"
            source += f"; {float(np.median(sigma)):.4g} in the real and in the imaginary part"
        std = sigma * magnitude_std(_smoothed(data.y) / sigma)
        properties = NoiseProperties(std.astype(np.float32), source, is_given=self.sigma is not None)
        all_noise = np.hypot(np.where(data.observed, std, np.inf), self._signal_dependent_std(data))
        return GaussianLikelihood(properties, all_noise.astype(np.float32))

    def signal_of_mean(self, mean: FloatArray, data: FitData) -> FloatArray:
        sigma = self._sigmas(data)
        return (sigma * signal_of_magnitude(mean / sigma)).astype(np.float32)

    def draw(
        self, mean: FloatArray, std: FloatArray, data: FitData, draw_unit: Callable[[], FloatArray]
    ) -> FloatArray:
        sigma = self._sigmas(data).astype(np.float32)
        real = self.signal_of_mean(mean, data) + sigma * draw_unit()
        magnitude: FloatArray = np.hypot(real, sigma * draw_unit())
        return magnitude

    def _sigmas(self, data: FitData) -> NDArray[np.float64]:
        """The noise in each part of the complex data, (T, C, 1, 1)."""
        if self.sigma is not None:
            return np.full((*data.y.shape[:2], 1, 1), self.sigma)
        found = np.array([[estimate_rician_sigma(plane) for plane in frame] for frame in data.y])
        found[found == 0] = np.median(found[found > 0])  # a constant plane
        return found[..., None, None]


def estimate_rician_sigma(image: FloatArray) -> float:
    """Return the standard deviation of the noise in each part of the complex data, from their magnitudes
    (Y, X), with NaN where nothing is observed.

    It is that of the air, where there is some: blocks as dark as noise alone, with the ratio of standard
    deviation and mean that noise alone has. Else it is that of the image, as of any other.
    """
    sigma = estimate_sigma(image)
    _, (mean_of_air, *_), (std_of_air, *_) = _table()
    blocks = all_blocks(image, AIR_BLOCK_PX)
    mean = blocks.mean(axis=(1, 2))
    dark = blocks[(mean > 0) & (mean < MAX_AIR_MEAN * sigma / std_of_air)]
    ratio = dark.std(axis=(1, 2)) / dark.mean(axis=(1, 2)) * mean_of_air / std_of_air
    air = dark[np.abs(ratio - 1) < MAX_AIR_MISMATCH]
    if len(air) < max(MIN_AIR_BLOCKS, MIN_AIR_SHARE * len(blocks)):
        return sigma
    if abs(np.median(ratio) - 1) > MAX_MEDIAN_MISMATCH:
        return sigma
    return float(np.sqrt(np.median(np.mean(air**2, axis=(1, 2))) / 2))


def magnitude_std(mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the standard deviation of magnitudes of this mean, for parts whose noise is 1."""
    _, means, stds = _table()
    return np.asarray(np.interp(mean, means, stds))


def signal_of_magnitude(mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the signal whose magnitudes have this mean, for parts whose noise is 1; 0 where it is less
    than that of noise alone, and NaN where it is NaN.
    """
    signals, means, _ = _table()
    bright = np.sqrt(np.maximum(mean**2 - 1, 0))
    return np.asarray(np.where(mean < means[-1], np.interp(mean, means, signals), bright))


@cache
def _table() -> tuple[NDArray[np.float64], ...]:
    """Signals, and the means and the standard deviations of their magnitudes."""
    from scipy.special import ive

    signal = np.linspace(0, HIGHEST, 1001)
    half = signal**2 / 4
    mean = np.sqrt(np.pi / 2) * ((1 + 2 * half) * ive(0, half) + 2 * half * ive(1, half))
    std = np.sqrt(2 + signal**2 - mean**2)
    return signal, mean, std


def _smoothed(y: FloatArray) -> NDArray[np.float64]:
    """The mean of the known neighbors of each pixel (..., Y, X); 0 where there are none."""
    from scipy.ndimage import uniform_filter

    known, sides = np.isfinite(y), (*(y.ndim - 2) * (1,), SIDE_PX, SIDE_PX)
    share = uniform_filter(known.astype(float), sides)
    total = uniform_filter(np.where(known, y, 0).astype(float), sides)
    return np.asarray(np.maximum(total, 0) / np.maximum(share, 1e-9))
