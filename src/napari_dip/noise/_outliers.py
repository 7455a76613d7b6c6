"""Outliers that nobody painted: hot pixels and cosmic rays, told from stars by their sharpness."""

from __future__ import annotations

import numpy as np

from napari_dip.observation import Flags, Floats

SHARP = 5.0  # sigmas of sharpness that make an outlier
EDGE = 5  # pixels at the edge that L.A.Cosmic does not judge, or not well
NARROW = 0.85  # pixels: standard deviation of the narrowest star, of FWHM 2
FORETOLD = 0.3  # part of a pixel's light that a star's wings foretell at the least
TRACK = 4  # pixels: fewer may be a star's core that was not given back, and its rim the star
BRIGHTER = 3.0  # sigmas above its surroundings that make a pixel at a track's rim a part of it
NEIGHBOURS = np.ones((3, 3))


def sharper_than_optics(y: Floats, noise: Floats) -> Flags:
    """Data (T, C, Y, X) that no light through the optics can make: hot pixels and cosmic rays.

    L.A.Cosmic finds what has sharper edges than a star, and the cores of narrow stars as well.
    Those are given back: their wings foretell a good part of them, and a cosmic ray has none. What
    is brighter than its surroundings along a track belongs to it, sharp or not. `noise` is the
    standard deviation, of the same shape; both in data units.

    References
    ----------
    .. [1] van Dokkum, "Cosmic-ray rejection by Laplacian edge detection", PASP 113 (2001) 1420,
           doi:10.1086/323894; as in the package astroscrappy.
    """
    found = np.zeros(y.shape, bool)
    for t, c in np.ndindex(*y.shape[:2]):
        known = np.isfinite(y[t, c])
        if known.any():
            found[t, c] = _in_plane(y[t, c], known, noise[t, c].astype(float))
    return found


def _in_plane(y: Floats, known: Flags, noise: Floats) -> Flags:
    from astroscrappy import detect_cosmics
    from scipy.ndimage import binary_dilation, label, mean, median_filter, sum_labels

    unit = float(np.median(noise[known]))  # data of 1e-20 squared would vanish in float32
    noise = np.where(known, noise / unit, 1)
    signal = np.where(known, (y - np.median(y[known])) / unit, 0).astype(np.float32)
    # Mirrored beyond the frame, for L.A.Cosmic marks nothing at its edge.
    wide, unknown, weights = (
        np.pad(plane, EDGE, mode="reflect") for plane in (signal, ~known, (noise**2).astype(np.float32))
    )
    sharp, _ = detect_cosmics(wide, inmask=unknown, invar=weights, satlevel=np.inf, sigclip=SHARP)
    sharp = sharp[EDGE:-EDGE, EDGE:-EDGE] & known
    signal -= median_filter(signal, 15)
    alone = sharp & (_foretold(signal, known & ~sharp) < FORETOLD * signal)
    # The ends of a track lie beside light that is not marked: it goes or stays as a whole.
    pieces, number = label(sharp, NEIGHBOURS)
    every = np.arange(number + 1)
    pixels = sum_labels(sharp, pieces, every)
    goes = mean(alone, pieces, every) > 0.5
    found: Flags = alone | (goes[pieces] & sharp)
    track = (goes & (pixels >= TRACK))[pieces] & sharp
    rim = binary_dilation(track, NEIGHBOURS) & known & ~found
    above = signal - _foretold(signal, known & ~found & ~rim)
    found |= rim & (above > BRIGHTER * noise)
    return found


def _foretold(signal: Floats, around: Flags) -> Floats:
    """The light that each pixel would have if it were a wing of the pixels `around` it."""
    from scipy.ndimage import gaussian_filter

    light, weight = (
        gaussian_filter(part, NARROW)
        for part in (np.where(around, signal, 0), around.astype(np.float32))
    )
    foretold: Floats = light / np.maximum(weight, 1e-6)
    return foretold
