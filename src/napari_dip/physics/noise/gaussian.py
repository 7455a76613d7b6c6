"""Gaussian noise, uniform or pixel by pixel."""

from __future__ import annotations

import copy
import math
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._estimate import (
    estimate_plane_sigmas,
    has_measurable_noise,
    plane_medians,
)
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings

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
    from the image. [data units]"""

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        shape, is_measurable = (*data.y.shape[:2], 1, 1), True
        if self.sigma is not None:
            sigma, source = np.full(shape, self.sigma), "given"
        elif "sigma" in data.auxiliary:
            sigma, source = _raise_tiny(np.where(data.observed, data.auxiliary["sigma"], np.nan))
        elif reference:
            known = reference.properties
            sigma, source = known.sigma / known.measured_ratio, known.source
        else:
            y = self._without_limits(data)
            sigma, source = estimate_plane_sigmas(y), "estimated"
            is_measurable = all(
                has_measurable_noise(plane, found)
                for plane, found in zip(y.reshape(-1, *y.shape[-2:]), sigma.flat, strict=True)
            )
            if not is_measurable:
                source = "none to be measured, and taken to be a thousandth of the spread of the image"
        std = np.hypot(np.where(data.observed, sigma, np.inf), self._signal_dependent_std(data))
        is_given = self.sigma is not None or "sigma" in data.auxiliary
        properties = NoiseProperties(
            np.asarray(sigma, np.float32), source, is_given=is_given, is_measurable=is_measurable
        )
        return GaussianLikelihood(properties, std.astype(np.float32))


class GaussianLikelihood(Likelihood):
    """Half the squared residual over the standard deviation `std`, (T, C, Y, X)."""

    def __init__(self, properties: NoiseProperties, std: FloatArray) -> None:
        super().__init__(properties)
        self._std = torch.from_numpy(std)
        self._random_std = torch.from_numpy(np.nan_to_num(properties.sigma))

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Divide before squaring: data of 1e-20 squared would vanish in float32.
        return 0.5 * ((mean - y) / self._std) ** 2

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._std

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._random_std

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        # An error plane is often made from the data, and brighter where they are: a ratio would have
        # half the noise. So it is smoothed, and the level is subtracted; in double precision, for
        # float32 would overflow for a given sigma of 1e-30.
        centered, sigma = y.astype(float), self.properties.sigma.astype(float)
        if sigma.shape[-2:] != (1, 1):
            centered, sigma = centered - plane_medians(y), _smoothed(sigma)
        normalized: FloatArray = np.full(y.shape, np.nan)
        np.divide(centered, sigma, out=normalized, where=sigma > 0)
        return normalized

    def with_scaled_noise(self, factor: float) -> Self:
        changed = copy.copy(self)
        changed.properties, changed._random_std = self._scale_sigma(factor), factor * self._random_std
        # Roots before products: data of 1e-20 squared would vanish in float32.
        change = math.sqrt(abs(factor**2 - 1)) * self._random_std
        if factor > 1:
            changed._std = torch.hypot(self._std, change)
        else:
            changed._std = torch.sqrt(self._std - change) * torch.sqrt(self._std + change)
        return changed


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


def _smoothed(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviation (T, C, Y, X) of the noise, as its mean square over 5 x 5 pixels."""
    from scipy.ndimage import uniform_filter

    known = np.isfinite(sigma)
    sides = (1, 1, 5, 5)
    unit = np.nanmedian(sigma)
    squares = np.where(known, sigma / unit, 0) ** 2
    weight = np.maximum(uniform_filter(known.astype(float), sides), 1e-12)
    return np.asarray(unit * np.sqrt(np.maximum(uniform_filter(squares, sides), 0) / weight))
