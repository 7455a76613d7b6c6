"""The noise of an image, measured in the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_dip.observation import Floats

# The decomposition high-pass filters of Daubechies' wavelets with one and two vanishing moments.
_HAAR = np.array([1, -1]) / np.sqrt(2)
_DB2 = np.array([1 - np.sqrt(3), np.sqrt(3) - 3, 3 + np.sqrt(3), -1 - np.sqrt(3)]) / np.sqrt(32)


def estimate_sigma(image: NDArray[np.floating]) -> float:
    """Standard deviation of the noise in a (Y, X) image with NaN where nothing is known.

    The median absolute deviation of the finest diagonal wavelet coefficients, which hold little
    but noise, at all places where no pixel is missing and the image is not flat (padding, clipped
    skies). Never less than a thousandth of the image's own standard deviation; 0 for an image
    without any contrast.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994)
           425, section 2.5, doi:10.1093/biomet/81.3.425
    """
    from astropy.stats import mad_std  # these two take a second to import
    from scipy.signal import convolve

    image = image.astype(float)
    known = image[np.isfinite(image)]
    spread = float(known.std()) if known.size else 0.0
    for high_pass in (_DB2, _HAAR):
        detail = convolve(image, np.outer(high_pass, high_pass), mode="valid", method="direct")
        whole = detail[np.isfinite(detail) & (np.abs(detail) > 1e-9 * spread)]
        if whole.size >= 500:
            return max(float(mad_std(whole)), 1e-3 * spread)
    return spread  # hardly two neighbours are known: nothing better can be said


def estimates(y: Floats) -> NDArray[np.float64]:
    """The noise of each plane of y (T, C, Y, X) as (T, C, 1, 1).

    A plane without contrast (an opaque alpha) has that of the others.
    """
    found = np.array([[estimate_sigma(plane) for plane in frame] for frame in y])
    found[found == 0] = np.median(found[found > 0])
    return found[..., None, None]


def backgrounds(y: Floats) -> NDArray[np.float64]:
    """The median of each plane's observed pixels, (T, C, 1, 1); 0 where there are none."""
    levels = [[np.nanmedian(p) if np.isfinite(p).any() else 0.0 for p in frame] for frame in y]
    return np.array(levels)[..., None, None]
