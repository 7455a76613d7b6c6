"""Estimation of the noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.run.api._options import observe


def estimate_noise(image: Any, *, mask: Any = None, axes: str | None = None) -> NoiseProperties:
    """Estimate the standard deviation and the kind of the noise of an image.

    Parameters
    ----------
    image
        As for `denoise`.
    mask : array of bool, optional
        True where data are missing.
    axes : str, optional
        As for `denoise`.

    Returns
    -------
    NoiseProperties
        Its `sigma` is a scalar array for a single plane, else it has an axis for each of T, C and Z of
        which there are several.

    Raises
    ------
    ObservationError, ReadError
        As for `denoise`.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994)
           425, section 2.5, doi:10.1093/biomet/81.3.425

    Examples
    --------
    >>> import napari_dip as dip
    >>> noise = dip.estimate_noise(np.random.default_rng(0).normal(100, 5, (128, 128)))
    >>> f"{noise.sigma:.1f}", noise.kind, noise.source
    ('5.0', 'white', 'estimated')
    """
    observation, _ = observe(image, {"mask": mask, "axes": axes})
    auxiliary = {name: array for name, array in observation.auxiliary.items() if name != "sigma"}
    data = FitData.from_observation(replace(observation, auxiliary=auxiliary))
    properties = Gaussian().likelihood(data).properties
    return replace(properties, sigma=properties.sigma.reshape(data.channel_layout.shape).squeeze())
