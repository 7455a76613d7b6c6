"""Noise models: settings that become a negative log-likelihood once the data are seen, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.noise._estimate import Character, estimate_sigma
from napari_dip.noise.base import Likelihood, NoiseSettings
from napari_dip.settings import tagged_union

if TYPE_CHECKING:
    AnyNoise = NoiseSettings
else:
    AnyNoise = tagged_union(NoiseSettings, __name__)

__all__ = ["AnyNoise", "Character", "Likelihood", "NoiseSettings", "estimate_sigma"]
