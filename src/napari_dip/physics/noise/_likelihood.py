"""The interface of a noise model whose numbers are all known."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import Self

import numpy as np

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import gaussian_transfer
from napari_dip.physics.jpeg import JpegCoding
from napari_dip.physics.windows import Windows


class Likelihood(ABC):
    """A noise model for data (T, C, Y, X) of which all numbers are known.

    Attributes
    ----------
    properties : NoiseProperties
        Strength and kind of the noise.
    is_photon_count : bool
        Whether the data are whole numbers of photons, whose distribution is known exactly.
    outliers : (T, C, Y, X) bool or None
        Data that say nothing about the scene and count as missing.
    censored : (T, C, Y, X) bool or None
        Data that are only a lower or upper bound.
    coding : JpegCoding or None
        How the data were compressed.
    """

    is_photon_count: bool = False
    outliers: BoolArray | None = None
    censored: BoolArray | None = None
    coding: JpegCoding | None = None

    def __init__(self, properties: NoiseProperties) -> None:
        self.properties = properties

    @abstractmethod
    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of each datum, up to a constant; hardly below 0.

        For Gaussian noise it is half the square of the normalized residual.
        """

    @abstractmethod
    def std(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the standard deviation of each datum about `mean`, in data units."""

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the part of `std` that is new in each exposure, without errors of the flat field."""
        return self.std(mean)

    @abstractmethod
    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        """Return the data on a scale on which their noise has a standard deviation of 1."""

    @abstractmethod
    def with_scaled_noise(self, factor: float) -> Self:
        """Return the likelihood for `factor` times as much noise."""

    def with_properties(self, properties: NoiseProperties) -> Self:
        """Return the likelihood with other `properties`, of the same sigma."""
        changed = copy.copy(self)
        changed.properties = properties
        return changed

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, alpha: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two versions of the data with independent noise and the same expectation `mean`.

        They are y + alpha e and y - e / alpha, where e is drawn from the distribution of the noise; of
        the measured one where less noise was measured than was given.

        References
        ----------
        .. [1] Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021, eq. (6).
        """
        white = torch.randn(y.shape, generator=generator, device=y.device)
        noise = self.correlate(white).mul_(self.properties.split_scale * self.random_std(mean))
        return torch.add(y, noise, alpha=alpha), torch.sub(y, noise, alpha=1 / alpha)

    def correlate(self, white: torch.Tensor) -> torch.Tensor:
        """Return white noise (..., Y, X) with the correlation of the data's, periodic at the edges."""
        width = self.properties.correlation_sigma
        if not width:
            return white
        transfer = _transfer(*white.shape[-2:], width, white.device)
        smooth: torch.Tensor = torch.fft.ifft2(transfer * torch.fft.fft2(white)).real
        return smooth / transfer.square().mean().sqrt()

    def of_first_part(self, alpha: float) -> Self:
        """Return the likelihood of the first of the two versions that `split` makes."""
        return self.with_scaled_noise(math.sqrt(1 + alpha**2))

    def to(self, device: torch.device) -> Self:
        """Return the likelihood on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor | Likelihood):
                setattr(moved, name, value.to(device))
        return moved

    def crops(self, windows: Windows, sides: tuple[int, int]) -> Self:
        """Return the likelihood of some `windows` of data whose `sides` are (Y, X).

        Its `properties` have the median noise of each channel.
        """
        cropped = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Likelihood):
                setattr(cropped, name, value.crops(windows, sides))
            elif isinstance(value, torch.Tensor) and value.shape[-2:] in (sides, (1, 1)):
                setattr(cropped, name, windows.cut(value))
        sigma = self.properties.sigma
        if sigma.shape[-2:] != (1, 1):
            sigma = np.nanmedian(sigma, axis=(2, 3), keepdims=True)
        cropped.properties = replace(self.properties, sigma=sigma)
        cropped.outliers = cropped.censored = None
        return cropped

    def _scale_sigma(self, factor: float) -> NoiseProperties:
        return replace(self.properties, sigma=factor * self.properties.sigma)


@lru_cache(maxsize=2)
def _transfer(height: int, width: int, sigma: float, device: torch.device) -> torch.Tensor:
    """The transfer function of correlated noise, kept on the device from step to step."""
    outer = np.outer(gaussian_transfer(height, sigma), gaussian_transfer(width, sigma))
    return torch.from_numpy(outer.astype(np.float32)).to(device)
