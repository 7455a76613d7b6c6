"""Registration: the shift between two images of one scene."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray

NUM_PARTS = 4
MAX_DISAGREEMENT_PX = 2.0  # between the shift of a part and that of the whole
MIN_CORRELATION, MIN_GAIN = 0.3, 0.05  # of edge maps; unrelated images reach 0.13
MIN_OVERLAP_PX = 16


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


@dataclass(frozen=True, eq=False)
class Registration:
    """How one image is shifted against another, and how sure that is.

    Attributes
    ----------
    shift : (2,) float
        Shift (y, x) that registers the moving image to the fixed one. [pixel]
    correlation : float
        Correlation of the two edge maps after that shift.
    unshifted_correlation : float
        Their largest correlation for shifts of at most the tolerance.
    num_agreeing : int
        How many of `NUM_PARTS` parts of the images, registered alone, have nearly the same shift.
    """

    shift: NDArray[np.float64]
    correlation: float
    unshifted_correlation: float
    num_agreeing: int

    @property
    def is_sure(self) -> bool:
        """Whether the shift is better than none, and parts of the images confirm it."""
        is_better = self.correlation > self.unshifted_correlation + MIN_GAIN
        return self.correlation > MIN_CORRELATION and is_better and 2 * self.num_agreeing >= NUM_PARTS


def register(fixed: NDArray[np.float64], moving: NDArray[np.float64], tolerance: float) -> Registration:
    """Return the shift that registers `moving` to `fixed`, and how sure it is.

    Both are results of `edge_map`. The peak of the correlation alone says little: of two images that
    have hardly an edge in common it is somewhere, too.
    """
    shift = estimate_shift(fixed, moving)
    reach = range(-math.ceil(tolerance), math.ceil(tolerance) + 1)
    unshifted = max(_correlation(fixed, moving, np.array(near)) for near in product(reach, reach))
    parts = [
        estimate_shift(fixed[rows, columns], moving[rows, columns], upsample_factor=2)
        for rows, columns in product(*(_overlapping_parts(side) for side in fixed.shape))
    ]
    agreeing = sum(bool(np.abs(part - shift).max() <= MAX_DISAGREEMENT_PX) for part in parts)
    return Registration(shift, _correlation(fixed, moving, shift), unshifted, agreeing)


def show_same_scene(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Return whether two images show the same scene, perhaps shifted; both are results of `edge_map`."""
    if first.shape != second.shape:
        return False
    shifts = np.zeros(2), estimate_shift(first, second, upsample_factor=1)
    return max(_correlation(first, second, shift) for shift in shifts) > MIN_CORRELATION


def _overlapping_parts(side: int) -> tuple[slice, slice]:
    return slice(0, 2 * side // 3), slice(side // 3, side)


def _correlation(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], shift: NDArray[np.floating]
) -> float:
    """The correlation coefficient of two images where they overlap after a shift by whole pixels."""
    first, second = [], []
    for by, side in zip(np.round(shift).astype(int), fixed.shape, strict=True):
        first.append(slice(max(by, 0), side + min(by, 0)))
        second.append(slice(max(-by, 0), side + min(-by, 0)))
    pair = [image[tuple(part)] for image, part in ((fixed, first), (moving, second))]
    if min(pair[0].shape) < MIN_OVERLAP_PX or not all(image.std() > 0 for image in pair):
        return 0.0
    return float(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1])


def estimate_shift(
    fixed: NDArray[np.floating], moving: NDArray[np.floating], *, upsample_factor: int = 20
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


def _shift_image(image: NDArray[np.floating], shift: NDArray[np.float64]) -> NDArray[np.floating]:
    from scipy.ndimage import shift as shift_image

    if not shift.any():
        return image
    return np.asarray(shift_image(image, shift, order=1, mode="constant"))
