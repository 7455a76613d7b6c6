"""A likelihood that changes what another one says about some of the data."""

from __future__ import annotations

import copy
from typing import Self

from napari_dip.core.axes import FloatArray
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._likelihood import Likelihood


class LikelihoodWrapper(Likelihood):
    """Base class of likelihoods around another one, whose noise they share."""

    def __init__(self, inner: Likelihood) -> None:
        super().__init__(inner.properties)
        self._inner = inner
        self.is_photon_count = inner.is_photon_count
        self.outliers, self.censored = inner.outliers, inner.censored

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.std(mean)

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.random_std(mean)

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        return self._inner.stabilize_variance(y)

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, alpha: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._inner.split(y, mean, alpha, generator)

    def with_scaled_noise(self, factor: float) -> Self:
        return self._with_inner(self._inner.with_scaled_noise(factor))

    def with_properties(self, properties: NoiseProperties) -> Self:
        return self._with_inner(self._inner.with_properties(properties))

    def _with_inner(self, inner: Likelihood) -> Self:
        changed = copy.copy(self)
        changed._inner, changed.properties = inner, inner.properties
        return changed
