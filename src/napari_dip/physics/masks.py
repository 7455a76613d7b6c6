"""Which pixels are missing, found by what they look like: for holes that nobody wants to paint."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.observation import Observation
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise.gaussian import Gaussian

MIN_SHARED_PIXELS = 10  # pixels that have one greatest value where the detector was full


def saturation_mask(observation: Observation) -> BoolArray:
    """Pixels at or above the header's saturation, or at the greatest value if many pixels share it.

    Parameters
    ----------
    observation : Observation
        What was measured, (T, C, Z, Y, X).

    Returns
    -------
    (T, C, Z, Y, X) bool

    Raises
    ------
    ObservationError
        If nothing says where the detector was full.
    """
    y = observation.y
    limit = Detector.from_header(observation).saturation
    greatest = float(np.nanmax(y))
    if limit is None:
        if np.count_nonzero(y == greatest) < MIN_SHARED_PIXELS:
            raise ObservationError(
                "nothing says where the image is saturated: its header has no SATURATE, and its greatest"
                f" value, {greatest:.6g}, is that of fewer than {MIN_SHARED_PIXELS} pixels; take 'Above a value'"
            )
        limit = greatest
    found: BoolArray = y >= limit
    return found


def cosmic_ray_mask(observation: Observation) -> BoolArray:
    """Hot pixels and the tracks of cosmic rays, with their rims.

    Parameters
    ----------
    observation : Observation
        What was measured, (T, C, Z, Y, X).

    Returns
    -------
    (T, C, Z, Y, X) bool

    Raises
    ------
    ObservationError
        If the image is too sharp for it.

    References
    ----------
    .. [1] van Dokkum, "Cosmic-ray rejection by Laplacian edge detection", PASP 113 (2001) 1420,
           doi:10.1086/323894
    """
    found = np.zeros(observation.y.shape, bool)
    for (times, depths), frame in observation.iter_planes():
        rejected = Gaussian(reject_outliers=True).likelihood(frame).outliers
        if rejected is None:
            raise ObservationError(
                "too much of the image is sharper than optics allow: it is undersampled, and cosmic rays"
                " cannot be told from it"
            )
        found[times, :, depths] = rejected[:, :, None]
    return found


def dilate_mask(holes: BoolArray, pixels: int = 1) -> BoolArray:
    """The holes and what is within so many pixels of them, in the plane of the last two axes.

    Parameters
    ----------
    holes : (..., Y, X) bool
        True where data are missing.
    pixels : int
        How far. [pixel]
    """
    from skimage.morphology import disk  # slow to import

    round_ = disk(pixels).astype(bool)
    wider: BoolArray = binary_dilation(holes, round_.reshape((1,) * (holes.ndim - 2) + round_.shape))
    return wider
