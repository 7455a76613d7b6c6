"""Outliers that nobody painted: hot pixels and cosmic rays, told from stars by their sharpness."""

from __future__ import annotations

import numpy as np

from napari_dip.core.axes import Flags, Floats

SHARP = 5.0  # sigmas of sharpness that make an outlier
EDGE = 5  # pixels at the edge that L.A.Cosmic does not judge, or not well
NARROW = 0.85  # pixels: standard deviation of the narrowest star, of FWHM 2
FORETOLD = 0.3  # part of a pixel's light that a star's wings foretell at the least
TRACK = 4  # pixels: fewer may be a star's core that was not given back, and its rim the star
NEIGHBOURS = np.ones((3, 3))


def sharper_than_optics(y: Floats, noise: Floats) -> Flags:
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
            found[t, c] = _sharp(y[t, c], known, noise[t, c].astype(float))
    return found


def with_rims(sharp: Flags) -> Flags:
    """The outliers (T, C, Y, X) and what is beside their tracks: there the ray left some charge, too."""
    from scipy.ndimage import binary_dilation, label, sum_labels

    grown = sharp.copy()
    for t, c in np.ndindex(*sharp.shape[:2]):
        pieces, number = label(sharp[t, c], NEIGHBOURS)
        sizes = sum_labels(sharp[t, c], pieces, np.arange(number + 1))
        grown[t, c] |= binary_dilation((sizes >= TRACK)[pieces], NEIGHBOURS)
    return grown


def _sharp(y: Floats, known: Flags, noise: Floats) -> Flags:
    from astroscrappy import detect_cosmics
    from scipy.ndimage import gaussian_filter, label, mean, median_filter

    unit = float(np.median(noise[known]))  # data of 1e-20 squared would vanish in float32
    variance = np.where(known, (noise / unit) ** 2, 1).astype(np.float32)
    signal = np.where(known, (y - np.median(y[known])) / unit, 0).astype(np.float32)
    # Mirrored beyond the frame, for L.A.Cosmic marks nothing at its edge.
    wide, unknown, weights = (np.pad(p, EDGE, mode="reflect") for p in (signal, ~known, variance))
    sharp, _ = detect_cosmics(wide, inmask=unknown, invar=weights, satlevel=np.inf, sigclip=SHARP)
    sharp = sharp[EDGE:-EDGE, EDGE:-EDGE] & known
    signal -= median_filter(signal, 15)
    around = known & ~sharp
    light, weight = (
        gaussian_filter(part, NARROW)
        for part in (np.where(around, signal, 0), around.astype(np.float32))
    )
    foretold = light / np.maximum(weight, 1e-6)
    alone = sharp & (foretold < FORETOLD * signal)
    # The ends of a track lie beside light that is not marked: it goes or stays as a whole.
    pieces, number = label(sharp, NEIGHBOURS)
    part = mean(alone, pieces, np.arange(number + 1))
    found: Flags = alone | ((part > 0.5)[pieces] & sharp)
    return found
