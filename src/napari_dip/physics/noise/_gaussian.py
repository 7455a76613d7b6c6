"""The likelihood of Gaussian noise."""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._estimate import plane_medians
from napari_dip.physics.noise._likelihood import Likelihood


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
            centered, sigma = centered - plane_medians(y), smooth_std(sigma)
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


def smooth_std(std: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation (T, C, Y, X) of the noise as its root mean square over 5 x 5 pixels.

    Values that are not finite are unknown, and left out of the means.
    """
    from scipy.ndimage import uniform_filter

    known = np.isfinite(std)
    sides = (1, 1, 5, 5)
    unit = np.median(std[known])
    squares = np.where(known, std / unit, 0) ** 2
    weight = np.maximum(uniform_filter(known.astype(float), sides), 1e-12)
    return np.asarray(unit * np.sqrt(np.maximum(uniform_filter(squares, sides), 0) / weight))
