"""How far off parameter maps are, from maps of data that were simulated from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray

ERROR_SMOOTHING_PX = 1.5  # of the Gaussian over which errors are averaged
DETAIL_SMOOTHING_PX = 1.0

Planes = NDArray[np.float64]


def map_uncertainty(
    value: Planes,
    simulated: Planes,
    bound: Planes,
    residuals: tuple[Planes, Planes] | None,
    spread: float,
) -> Planes:
    """Return the standard deviation of the error of a map, in its unit.

    Parameters
    ----------
    value, simulated : (..., Y, X) array
        The map, and the one that a single fit to data simulated from it yields; NaN where unknown.
    bound : (..., Y, X) array
        The Cramer-Rao bound of `value` for a pixel alone.
    residuals : tuple of two arrays, or None
        The residuals of the data and of the simulated ones along this quantity, in units of the bound.
    spread : float
        How much larger the variance of the error of a single fit is than that of the map, relatively.

    Returns
    -------
    array
        NaN where either map is.

    Notes
    -----
    The simulated data have the noise of the measured ones, and the map is their known truth. Squared
    errors relative to the bound are averaged over the neighbors. What the map has lost, such as texture,
    the simulated data lack, too; but it is left in the measured residual. By so much as that is larger
    than the simulated one, in proportion to the squared gradient of the map, the variance is increased.

    References
    ----------
    .. [1] Efron, Tibshirani, "An introduction to the bootstrap" (1993), chapter 6.5 (the parametric
           bootstrap).
    """
    known = np.isfinite(value) & np.isfinite(simulated) & np.isfinite(bound) & (bound > 0)
    scale = np.where(known, bound, 1.0)
    squares = np.where(known, (simulated - value) / scale, 0) ** 2
    variance = _local_mean(squares, known, ERROR_SMOOTHING_PX) / (1 + spread)
    if residuals is not None:
        measured, of_simulated = residuals
        steps = np.gradient(value, axis=(-2, -1))
        gradient = sum(np.nan_to_num(step / scale) ** 2 for step in steps)
        detail = _local_mean(np.where(known, gradient, 0), known, DETAIL_SMOOTHING_PX)
        excess = measured**2 + spread * variance - of_simulated**2
        used = known & np.isfinite(excess)
        variance += _slope(detail[used], excess[used]) * detail
    return np.where(known, np.sqrt(variance) * bound, np.nan)


def _local_mean(values: Planes, known: BoolArray, sigma: float) -> Planes:
    """The mean of known values (..., Y, X) around each pixel."""
    from scipy.ndimage import gaussian_filter

    around = (*(0,) * (values.ndim - 2), sigma, sigma)
    weights = gaussian_filter(known.astype(float), around)
    means: Planes = gaussian_filter(values * known, around) / np.maximum(weights, 1e-9)
    return means


def _slope(x: NDArray[np.float64], excess: NDArray[np.float64]) -> float:
    """How much of an excess of squares there is for each unit of `x`; 0 unless the data are sure of it.

    Squares of normal numbers have a variance of 2, and their differences twice that.
    """
    energy = float(x @ x)
    if energy == 0:
        return 0.0
    slope = float(x @ excess) / energy
    return max(slope, 0.0) * slope**2 / (slope**2 + 4 / energy)
