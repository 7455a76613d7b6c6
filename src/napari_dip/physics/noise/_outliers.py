"""Outliers that nobody painted: hot pixels and cosmic rays, told from stars by their sharpness."""

from __future__ import annotations

import numpy as np

from napari_dip.core.axes import BoolArray, FloatArray

LACOSMIC_SIGMAS = 5.0  # sigmas of sharpness that make an outlier
LACOSMIC_EDGE_PX = 5  # pixels at the edge that L.A.Cosmic does not judge, or not well
NARROWEST_STAR_SIGMA_PX = 0.85  # pixels: standard deviation of the narrowest star, of FWHM 2
MIN_WING_LIGHT = 0.3  # part of a pixel's light that a star's wings foretell at the least
MIN_TRACK_PX = 4  # pixels: fewer may be a star's core that was not given back, and its rim the star
NEIGHBORHOOD = np.ones((3, 3))


def detect_cosmic_rays(y: FloatArray, noise: FloatArray) -> BoolArray:
    """Data (T, C, Y, X) that no light through the optics can make: hot pixels and cosmic rays.

    L.A.Cosmic finds what has sharper edges than a star, and the cores of narrow stars as well.
    Those are given back: their wings foretell a good part of them, and a cosmic ray has none.
    `noise` is the standard deviation, of the same shape; both in data units.

    References
    ----------
    .. [1] van Dokkum, "Cosmic-ray rejection by Laplacian edge detection", PASP 113 (2001) 1420,
           doi:10.1086/323894; as in the package astroscrappy.
    """
    found = np.zeros(y.shape, bool)
    for t, c in np.ndindex(*y.shape[:2]):
        known = np.isfinite(y[t, c])
        if known.any():
            found[t, c] = _lacosmic(y[t, c], known, noise[t, c].astype(float))
    return found


def dilate_tracks(sharp: BoolArray) -> BoolArray:
    """The outliers (T, C, Y, X) and what is beside their tracks: there the ray left some charge, too."""
    from scipy.ndimage import binary_dilation, label, sum_labels

    grown = sharp.copy()
    for t, c in np.ndindex(*sharp.shape[:2]):
        pieces, number = label(sharp[t, c], NEIGHBORHOOD)
        sizes = sum_labels(sharp[t, c], pieces, np.arange(number + 1))
        grown[t, c] |= binary_dilation((sizes >= MIN_TRACK_PX)[pieces], NEIGHBORHOOD)
    return grown


def _lacosmic(y: FloatArray, known: BoolArray, noise: FloatArray) -> BoolArray:
    from astroscrappy import detect_cosmics
    from scipy.ndimage import gaussian_filter, label, mean, median_filter

    unit = float(np.median(noise[known]))  # data of 1e-20 squared would vanish in float32
    variance = np.where(known, (noise / unit) ** 2, 1).astype(np.float32)
    signal = np.where(known, (y - np.median(y[known])) / unit, 0).astype(np.float32)
    # Mirrored beyond the frame, for L.A.Cosmic marks nothing at its edge.
    wide, unknown, weights = (
        np.pad(p, LACOSMIC_EDGE_PX, mode="reflect") for p in (signal, ~known, variance)
    )
    sharp, _ = detect_cosmics(
        wide, inmask=unknown, invar=weights, satlevel=np.inf, sigclip=LACOSMIC_SIGMAS
    )
    sharp = sharp[LACOSMIC_EDGE_PX:-LACOSMIC_EDGE_PX, LACOSMIC_EDGE_PX:-LACOSMIC_EDGE_PX] & known
    signal -= median_filter(signal, 15)
    around = known & ~sharp
    light, weight = (
        gaussian_filter(part, NARROWEST_STAR_SIGMA_PX)
        for part in (np.where(around, signal, 0), around.astype(np.float32))
    )
    foretold = light / np.maximum(weight, 1e-6)
    alone = sharp & (foretold < MIN_WING_LIGHT * signal)
    # The ends of a track lie beside light that is not marked: it goes or stays as a whole.
    pieces, number = label(sharp, NEIGHBORHOOD)
    part = mean(alone, pieces, np.arange(number + 1))
    found: BoolArray = alone | ((part > 0.5)[pieces] & sharp)
    return found
