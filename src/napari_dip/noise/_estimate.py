"""The noise of an image, measured in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.observation import Floats

Character = Literal["white", "correlated", "long tails"]

SIDE = 12  # pixels of a block
FEWEST = 8  # blocks that say something of the noise
CORRELATED = 0.12  # part of the variance that neighbours share
LONG_TAILS = 4.5  # kurtosis

# The decomposition high-pass filters of Daubechies' wavelets with one and two vanishing moments.
_HAAR = np.array([1, -1]) / np.sqrt(2)
_DB2 = np.array([1 - np.sqrt(3), np.sqrt(3) - 3, 3 + np.sqrt(3), -1 - np.sqrt(3)]) / np.sqrt(32)


def estimate_sigma(image: NDArray[np.floating]) -> float:
    """Standard deviation of the noise in a (Y, X) image with NaN where nothing is known.

    The lesser of two: the median absolute deviation of the finest diagonal wavelet coefficients, at
    all places where no pixel is missing and the image is not flat (padding, clipped skies), and what
    is left in the quietest blocks of the image; both hold little but noise, the first too much of
    fine texture. Never less than a thousandth of the image's own standard deviation; 0 for an image
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
            sigma = float(mad_std(whole))
            quiet = quiet_blocks(image)
            if quiet is not None and character([quiet]) == "white":
                sigma = min(sigma, float(np.median(quiet.std(axis=(1, 2)))))
            return max(sigma, 1e-3 * spread)
    return spread  # hardly two neighbours are known: nothing better can be said


def quiet_blocks(image: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """What is left of the quietest fifth of all blocks without a second-degree surface, (N, SIDE, SIDE).

    As strong as the noise on average; None where fewer than `FEWEST` blocks are complete.
    """
    height, width = (side // SIDE for side in image.shape)
    tiles = image[: height * SIDE, : width * SIDE].reshape(height, SIDE, width, SIDE).swapaxes(1, 2)
    blocks = tiles.reshape(-1, SIDE * SIDE).astype(float)
    blocks = blocks[np.isfinite(blocks).all(axis=1)]
    blocks = blocks[np.ptp(blocks, axis=1) > 0]
    number = len(blocks) // 5
    if number < FEWEST:
        return None
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1) / SIDE - 0.5
    surface, _ = np.linalg.qr(np.stack((np.ones_like(x), x, y, x * y, x**2, y**2), axis=1))
    left = blocks - blocks.mean(axis=1, keepdims=True)
    left -= left @ surface @ surface.T
    left = left.reshape(-1, SIDE, SIDE)
    # Ranked by what means over 3 x 3 pixels show, which is structure rather than noise.
    coarse = left.reshape(-1, SIDE // 3, 3, SIDE // 3, 3).mean(axis=(2, 4)).var(axis=(1, 2))
    quietest = left[np.argsort(coarse)[:number]]
    found: NDArray[np.float64] = quietest * np.sqrt(SIDE**2 / (SIDE**2 - surface.shape[1]))
    return found


def character(planes: Sequence[NDArray[np.float64]]) -> Character:
    """How the noise in the `quiet_blocks` of some planes differs from independent Gaussian noise.

    Correlated where neighbours along an axis have more than an eighth of their variance in common
    (resampled, drizzled, debayered, compressed images); with long tails where the kurtosis exceeds 4.5
    (three is a Gaussian's).
    """
    blocks = np.concatenate([plane / plane.std() for plane in planes])
    variance = np.mean(blocks**2, axis=(1, 2))
    along_x = np.mean(blocks[:, :, 1:] * blocks[:, :, :-1], axis=(1, 2)) / variance
    along_y = np.mean(blocks[:, 1:] * blocks[:, :-1], axis=(1, 2)) / variance
    if (np.median(along_x) + np.median(along_y)) / 2 > CORRELATED:
        return "correlated"
    kurtosis = np.mean(blocks**4, axis=(1, 2)) / variance**2
    return "long tails" if np.median(kurtosis) > LONG_TAILS else "white"


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


def character_of(y: Floats) -> Character:
    """The `character` of all planes of y (T, C, Y, X); white where there is too little to tell."""
    planes = [quiet_blocks(plane) for plane in y.reshape(-1, *y.shape[-2:])]
    told = [plane for plane in planes if plane is not None]
    return character(told) if told else "white"
