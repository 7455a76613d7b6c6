"""Registration: the shift between two images of one scene."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray


def edge_map(image: FloatArray) -> NDArray[np.float64]:
    """Return the strength of the edges of `image` (C, Y, X), summed over channels; (Y, X).

    Edges are what two bands, or a bright and a faint exposure, have in common. Single hot pixels are
    filtered out, and there are no edges near missing pixels: neither moves with the scene.
    """
    from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude, median_filter

    total = np.zeros(image.shape[-2:])
    for channel in image.astype(float):
        known = np.isfinite(channel)
        if not known.any():
            continue
        level = np.median(channel[known])
        flat = median_filter(np.where(known, channel - level, 0), 3)
        strength = gaussian_gradient_magnitude(flat / (flat.std() or 1), 1.5)
        # Noise makes weak edges everywhere; and a few stars must not outweigh the rest.
        floor = np.median(strength)
        strength = np.sqrt(np.maximum(strength - 2 * floor, 0))
        strength[binary_dilation(~known, iterations=5)] = 0
        total += strength
    return total


def estimate_shift(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], *, upsample_factor: int = 20
) -> NDArray[np.float64]:
    """Return the shift (y, x) that registers `moving` to `fixed`, to 1 / `upsample_factor` of a pixel.

    Both are results of `edge_map`.

    References
    ----------
    .. [1] Guizar-Sicairos, Thurman, Fienup, "Efficient subpixel image registration algorithms", Opt.
           Lett. 33 (2008) 156, doi:10.1364/OL.33.000156; as in scikit-image.
    """
    from skimage.filters import window
    from skimage.registration import phase_cross_correlation

    taper = window("tukey", fixed.shape)  # the scene does not end at the edge of an image
    shift: NDArray[np.float64] = np.zeros(2)
    for _ in range(2):  # the second time, the tapers cover the same part of the scene
        shifted = _shift_image(moving, shift)
        pair = [(image - image.mean()) * taper for image in (fixed, shifted)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the error estimate, which is not used
            step, _, _ = phase_cross_correlation(
                *pair, upsample_factor=upsample_factor, normalization=None
            )
        shift = shift + step
    return shift


def _shift_image(image: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import shift as shift_image

    if not shift.any():
        return image
    return np.asarray(shift_image(image, shift, order=1, mode="constant"))
