"""The interface of a noise model whose numbers are all known."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import gaussian_transfer
from napari_dip.physics.noise._estimate import (
    NoiseKind,
)


class Likelihood(ABC):
    """A noise model whose numbers are all known, for data (T, C, Y, X)."""

    sigma: FloatArray
    """Standard deviation of the noise at the background, (T, C, 1, 1) or (T, C, Y, X); data units."""
    source: str
    """Where the numbers came from, for the person to read."""
    kind: NoiseKind = "white"
    """Whether the noise is independent from pixel to pixel and Gaussian or as the model says."""
    correlation_sigma: float = 0.0
    """Where neighbours share it: the noise is white noise smoothed by such a Gaussian. [pixel]"""
    header_rejected: bool = False
    """Whether the image shows another noise than its header tells, and so its own was measured."""
    measured_ratio: float = 1.0
    """By how much more noise was found than was told."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """The least and the greatest value that the detector can tell."""
    is_photon_count: bool = False
    """Whether the data are counts of single photons, which leave no doubt about the noise's tails."""
    outliers: BoolArray | None = None
    """Data that say nothing of the scene, (T, C, Y, X): they count as missing."""
    censored: BoolArray | None = None
    """Data that only say 'at least' or 'at most', (T, C, Y, X)."""

    @abstractmethod
    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of `y` at each pixel, up to a constant; never much below 0.

        Half the square of the residual in sigmas, where the noise is Gaussian or nearly so.
        """

    @abstractmethod
    def std(self, mean: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the noise about `mean`, pixel by pixel, in data units."""

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        """The same, of the noise alone that is new in every exposure: no error of flat fields."""
        return self.std(mean)

    @abstractmethod
    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        """The data `y` (T, C, Y, X) on a scale on which their noise is 1 everywhere."""

    @abstractmethod
    def with_scaled_noise(self, factor: float) -> Self:
        """The same with `factor` times as much noise."""

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Two versions of the data `y` with independent noise, both of the expectation `mean`.

        They are y + a e and y - e / a, with a the `strength` and e drawn as the data's own noise.

        References
        ----------
        .. [1] Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021, eq. (6).
        """
        normal = torch.randn(y.shape, generator=generator, device=y.device)
        extra = self.correlate(normal).mul_(self.random_std(mean))
        return torch.add(y, extra, alpha=strength), torch.sub(y, extra, alpha=1 / strength)

    @property
    def can_be_sampled(self) -> bool:
        """Whether noise like the data's own can be drawn."""
        return self.kind in ("white", "correlated")

    def correlate(self, white: torch.Tensor) -> torch.Tensor:
        """White noise (..., Y, X) made to be shared as the data's is; opposite edges are neighbours."""
        if not self.correlation_sigma:
            return white
        rows, columns = (gaussian_transfer(n, self.correlation_sigma) for n in white.shape[-2:])
        passed = torch.from_numpy(np.outer(rows, columns).astype(np.float32)).to(white.device)
        smooth: torch.Tensor = torch.fft.ifft2(passed * torch.fft.fft2(white)).real
        return smooth / passed.square().mean().sqrt()

    def of_first_part(self, strength: float) -> Self:
        """The likelihood of the first of the two versions that `split` makes."""
        return self.with_scaled_noise(math.sqrt(1 + strength**2))

    def to(self, device: torch.device) -> Self:
        """The same likelihood on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor | Likelihood):
                setattr(moved, name, value.to(device))
        return moved
