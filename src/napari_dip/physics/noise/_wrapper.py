"""A likelihood around another one."""

from __future__ import annotations

import copy
from typing import Self

from napari_dip.core.axes import FloatArray
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._likelihood import Likelihood


class LikelihoodWrapper(Likelihood):
    """A likelihood that changes what another one says."""

    _inner: Likelihood

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.std(mean)

    def random_std(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.random_std(mean)

    def stabilize_variance(self, y: FloatArray) -> FloatArray:
        return self._inner.stabilize_variance(y)

    def with_scaled_noise(self, factor: float) -> Self:
        changed = copy.copy(self)
        changed._inner = self._inner.with_scaled_noise(factor)
        return changed
