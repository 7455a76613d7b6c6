"""The identity: the data are the scene plus noise, without what is missing."""

from __future__ import annotations

from typing import Literal

import numpy as np

from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators.base import Operator, OperatorSettings


class Identity(OperatorSettings):
    """The data are the scene itself: denoising and inpainting."""

    kind: Literal["identity"] = "identity"

    def build(self, data: FitData) -> Operator:
        _, channels, height, width = data.y.shape
        return IdentityOperator((channels, height, width))

    def make_example(self, seed: int) -> Observation:
        """Return a smooth scene under noise, with a missing region."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:40, :48]
        scene = 100 + 50 * np.hypot(y - 15, x - 12) + 30 * np.cos(x / 6)
        mask = np.zeros((40, 48), bool)
        mask[20:24, 30:34] = True
        return Observation.from_array(scene + rng.normal(0, 20, scene.shape), axes="YX", mask=mask)


class IdentityOperator(Operator):
    """A x = x."""

    is_identity = True

    def __init__(self, scene_shape: tuple[int, int, int]) -> None:
        self.scene_shape = scene_shape

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x[None]

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return y[0]
