"""Gaussian noise, the same everywhere or pixel by pixel."""

from __future__ import annotations

import copy
import math
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._estimate import estimate_plane_sigmas
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings


class Gaussian(NoiseSettings):
    """Independent Gaussian noise, of the same strength everywhere or pixel by pixel.

    The variance is sigma^2 + (relative * |y - background|)^2. The second term stands for whatever
    grows with the signal (flat-field errors, photon noise of bright things): without it, the few
    brightest stars of a frame would own the loss. Faint pixels do not feel it.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("sigma",)
    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise; automatic: the error layer's, else estimated from the
    image. [data units]"""

    def _base_likelihood(self, frame: Observation, like: Likelihood | None) -> Likelihood:
        y, observed = frame.y[:, :, 0], frame.observed[:, :, 0]
        if self.sigma is not None:
            sigma, origin = np.full((*y.shape[:2], 1, 1), self.sigma), "given"
        elif "sigma" in frame.auxiliary:
            sigma, origin = np.where(observed, frame.auxiliary["sigma"][:, :, 0], np.nan), "error layer"
        elif like:
            sigma, origin = like.sigma / like.measured_ratio, like.source
        else:
            sigma, origin = estimate_plane_sigmas(self._without_limits(frame)), "estimated"
        total = np.hypot(np.where(observed, sigma, np.inf), self._signal_dependent_std(frame))
        return GaussianLikelihood(np.asarray(sigma, np.float32), origin, total.astype(np.float32))


class GaussianLikelihood(Likelihood):
    """Half the squared residual in units of its standard deviation `total`, (T, C, Y, X)."""

    def __init__(self, sigma: FloatArray, origin: str, total: FloatArray) -> None:
        self.sigma, self.source = sigma, origin
        self._total = torch.from_numpy(total)
        self._random = torch.from_numpy(np.nan_to_num(sigma))

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Divide before squaring: data of 1e-20 squared would vanish in float32.
        return 0.5 * ((mean - y) / self._total) ** 2

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._total

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._random

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        # In double precision: float32 would overflow where somebody tells a noise of 1e-30.
        steady: FloatArray = np.full(y.shape, np.nan)
        np.divide(y, self.sigma, out=steady, where=self.sigma > 0, dtype=float)
        return steady

    def with_scaled_noise(self, factor: float) -> Self:
        changed = copy.copy(self)
        changed.sigma, changed._random = factor * self.sigma, factor * self._random
        # Roots before products: data of 1e-20 squared would vanish in float32.
        change = math.sqrt(abs(factor**2 - 1)) * self._random
        if factor > 1:
            changed._total = torch.hypot(self._total, change)
        else:
            changed._total = torch.sqrt(self._total - change) * torch.sqrt(self._total + change)
        return changed
