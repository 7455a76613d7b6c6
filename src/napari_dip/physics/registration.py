"""How far two pictures of one scene are shifted against each other."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray


def edge_map(image: FloatArray) -> NDArray[np.float64]:
    """Strength of the edges of `image` (C, Y, X), averaged over channels; (Y, X).

    It is what two bands, or a bright and a faint exposure, have in common. Single hot pixels are
    filtered out, and there are no edges where nothing is known: both stay where they are while the
    scene moves.
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
        # What noise makes everywhere is no edge; and a few stars must not outweigh all the rest.
        floor = np.median(strength)
        strength = np.sqrt(np.maximum(strength - 2 * floor, 0))
        strength[binary_dilation(~known, iterations=5)] = 0
        total += strength
    return total


def estimate_shift(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], *, upsample_factor: int = 20
) -> NDArray[np.float64]:
    """The shift (y, x) that brings `moving` onto `fixed`, two `edges`, to 1 / `parts` of a pixel.

    References
    ----------
    .. [1] Guizar-Sicairos, Thurman, Fienup, "Efficient subpixel image registration algorithms", Opt.
           Lett. 33 (2008) 156, doi:10.1364/OL.33.000156; as in scikit-image.
    """
    from skimage.filters import window
    from skimage.registration import phase_cross_correlation

    taper = window("tukey", fixed.shape)  # frames end where the scene does not
    found: NDArray[np.float64] = np.zeros(2)
    for _ in range(2):  # once more from where it was found: the tapers then cover the same scene
        here = _shift_image(moving, found)
        pair = [(one - one.mean()) * taper for one in (fixed, here)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of its error, which is not asked for
            step, _, _ = phase_cross_correlation(
                *pair, upsample_factor=upsample_factor, normalization=None
            )
        found = found + step
    return found


def _shift_image(image: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import shift as shifted

    return image if not shift.any() else np.asarray(shifted(image, shift, order=1, mode="constant"))
