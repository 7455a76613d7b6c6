"""Noise models: settings that become a negative log-likelihood once the data are known, one file
each.
"""

from napari_dip.physics.noise._estimate import diagonal_details, estimate_sigma
from napari_dip.physics.noise._gaussian import smooth_std
from napari_dip.physics.noise._kinds import AnyNoise
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings

__all__ = [
    "AnyNoise",
    "Likelihood",
    "NoiseSettings",
    "diagonal_details",
    "estimate_sigma",
    "smooth_std",
]
