"""All kinds of noise models: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.physics.noise.base import NoiseSettings

if TYPE_CHECKING:
    AnyNoise = NoiseSettings
else:
    AnyNoise = tagged_union(NoiseSettings, __package__)

__all__ = ["AnyNoise"]
