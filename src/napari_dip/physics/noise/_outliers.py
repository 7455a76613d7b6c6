"""Outliers: hot pixels and cosmic rays, distinguished from stars by their sharpness."""

from __future__ import annotations

import numpy as np

from napari_dip.core.axes import BoolArray, FloatArray

LACOSMIC_SIGMAS = 5.0  # of sharpness, beyond which a pixel is an outlier
LACOSMIC_EDGE_PX = 5  # at the edge of an image, which L.A.Cosmic does not process, or not well
NARROWEST_STAR_SIGMA_PX = 0.85  # of a star with a FWHM of 2 pixels
MIN_WING_LIGHT = 0.3  # of the flux of a pixel, that the wings of a star predict at least
MIN_TRACK_PX = 4  # fewer pixels may be the core of a star that was missed, and their rim the star
NEIGHBORHOOD = np.ones((3, 3))


def detect_cosmic_rays(y: FloatArray, noise: FloatArray) -> BoolArray:
    """Return the data (T, C, Y, X) that are too sharp for the optics: hot pixels and cosmic rays.

    L.A.Cosmic detects what has sharper edges than a star, and the cores of narrow stars as well. These
    are removed from the mask: their wings predict a good part of their flux, and a cosmic ray has none.

    Parameters
    ----------
    y : (T, C, Y, X) float32
        The data, in data units; NaN where nothing is observed.
    noise : (T, C, Y, X) float32
        Standard deviation of the noise, in data units.

    References
    ----------
    .. [1] van Dokkum, "Cosmic-ray rejection by Laplacian edge detection", PASP 113 (2001) 1420,
           doi:10.1086/323894; as in the package astroscrappy.
    """
    mask = np.zeros(y.shape, bool)
    for t, c in np.ndindex(*y.shape[:2]):
        known = np.isfinite(y[t, c])
        if known.any():
            mask[t, c] = _lacosmic(y[t, c], known, noise[t, c].astype(float))
    return mask


def dilate_tracks(mask: BoolArray) -> BoolArray:
    """Return outliers (T, C, Y, X) with the pixels beside their tracks, to which some charge spreads."""
    from scipy.ndimage import binary_dilation, label, sum_labels

    dilated = mask.copy()
    for t, c in np.ndindex(*mask.shape[:2]):
        labels, number = label(mask[t, c], NEIGHBORHOOD)
        sizes = sum_labels(mask[t, c], labels, np.arange(number + 1))
        dilated[t, c] |= binary_dilation((sizes >= MIN_TRACK_PX)[labels], NEIGHBORHOOD)
    return dilated


def _lacosmic(y: FloatArray, known: BoolArray, noise: FloatArray) -> BoolArray:
    from astroscrappy import detect_cosmics
    from scipy.ndimage import gaussian_filter, label, mean, median_filter

    unit = float(np.median(noise[known]))  # data of 1e-20 squared would vanish in float32
    variance = np.where(known, (noise / unit) ** 2, 1).astype(np.float32)
    signal = np.where(known, (y - np.median(y[known])) / unit, 0).astype(np.float32)
    # The image is mirrored at its edges, which L.A.Cosmic does not process.
    edge = LACOSMIC_EDGE_PX
    padded, unknown, weights = (np.pad(p, edge, mode="reflect") for p in (signal, ~known, variance))
    sharp, _ = detect_cosmics(
        padded, inmask=unknown, invar=weights, satlevel=np.inf, sigclip=LACOSMIC_SIGMAS
    )
    sharp = sharp[edge:-edge, edge:-edge] & known
    signal -= median_filter(signal, 15)
    neighbors = known & ~sharp
    flux, weight = (
        gaussian_filter(part, NARROWEST_STAR_SIGMA_PX)
        for part in (np.where(neighbors, signal, 0), neighbors.astype(np.float32))
    )
    predicted = flux / np.maximum(weight, 1e-6)
    isolated = sharp & (predicted < MIN_WING_LIGHT * signal)
    # The ends of a track lie beside flux that is not detected: a track is masked as a whole, or not.
    labels, number = label(sharp, NEIGHBORHOOD)
    fraction = mean(isolated, labels, np.arange(number + 1))
    mask: BoolArray = isolated | ((fraction > 0.5)[labels] & sharp)
    return mask
