"""Masks of missing pixels, derived from the image: saturation, cosmic rays, dilation, other pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import iter_planes
from napari_dip.core.observation import Observation
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise.gaussian import Gaussian

MIN_SHARED_PIXELS = 10  # that have the maximum, where the detector is saturated


def saturation_mask(observation: Observation) -> BoolArray:
    """Mask pixels at or above the saturation of the header, or at the maximum if many pixels share it.

    Parameters
    ----------
    observation : Observation
        The image, (T, C, Z, Y, X).

    Returns
    -------
    (T, C, Z, Y, X) bool

    Raises
    ------
    ObservationError
        If neither the header nor the image shows where the detector saturates.
    """
    y = observation.y
    limit = Detector.from_header(observation.header, y).saturation
    maximum = float(np.nanmax(y))
    if limit is None:
        if np.count_nonzero(y == maximum) < MIN_SHARED_PIXELS:
            raise ObservationError(
                "the saturation of the image is unknown: its header has no SATURATE, and fewer than"
                f" {MIN_SHARED_PIXELS} pixels have its maximum, {maximum:.6g}; use 'Above a value'"
            )
        limit = maximum
    mask: BoolArray = y >= limit
    return mask


def cosmic_ray_mask(observation: Observation) -> BoolArray:
    """Mask hot pixels and the tracks of cosmic rays, with the pixels beside them.

    Parameters
    ----------
    observation : Observation
        The image, (T, C, Z, Y, X).

    Returns
    -------
    (T, C, Z, Y, X) bool

    Raises
    ------
    ObservationError
        If the image is undersampled, so that stars are as sharp as cosmic rays.

    References
    ----------
    .. [1] van Dokkum, "Cosmic-ray rejection by Laplacian edge detection", PASP 113 (2001) 1420,
           doi:10.1086/323894
    """
    mask = np.zeros(observation.y.shape, bool)
    for (times, depths), plane in iter_planes(observation):
        outliers = Gaussian(reject_outliers=True).likelihood(plane).outliers
        if outliers is None:
            raise ObservationError(
                "too much of the image is sharper than optics allow: it is undersampled, and cosmic rays"
                " cannot be distinguished from stars"
            )
        mask[times, :, depths] = outliers[:, :, None]
    return mask


def dilate_mask(mask: BoolArray, radius: int = 1) -> BoolArray:
    """Dilate a mask in the plane of its last two axes.

    Parameters
    ----------
    mask : (..., Y, X) bool
        True where data are missing.
    radius : int
        Of the disk. [pixel]
    """
    from skimage.morphology import isotropic_dilation  # slow to import

    dilated = mask.copy()
    for plane in dilated.reshape(-1, *mask.shape[-2:]):
        if plane.any():  # the distance to nothing is not defined
            plane[:] = isotropic_dilation(plane, radius)
    return dilated


def resample_mask(
    mask: BoolArray, matrix: FloatArray, offset: FloatArray, shape: tuple[int, ...]
) -> BoolArray:
    """Look a mask up at the centers of other pixels; beyond it, nothing is missing.

    Parameters
    ----------
    mask : (..., Y, X) bool
        True where data are missing.
    matrix, offset : (N, N) and (N,) arrays
        The index `matrix` @ i + `offset` in `mask` is that of the index i in the result.
    shape : tuple of int
        Shape of the result.
    """
    found = affine_transform(mask.astype(np.uint8), matrix, offset, output_shape=shape, order=0)
    return np.asarray(found, bool)
