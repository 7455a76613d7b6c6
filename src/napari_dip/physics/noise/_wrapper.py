"""A likelihood around another one."""

from __future__ import annotations

import copy
from typing import Self

from napari_dip.core.axes import Floats
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._likelihood import Likelihood


class _Outer(Likelihood):
    """A likelihood that changes what another one says."""

    _inner: Likelihood

    def deviation(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.deviation(mean)

    def random(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.random(mean)

    def steadied(self, y: Floats) -> Floats:
        return self._inner.steadied(y)

    def scaled(self, factor: float) -> Self:
        changed = copy.copy(self)
        changed._inner = self._inner.scaled(factor)
        return changed
