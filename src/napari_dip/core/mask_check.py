"""A mask that hides the objects of an image instead of its bad pixels."""

from __future__ import annotations

import numpy as np

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray

BRIGHT_SIGMAS = 10.0  # above the median, beyond which a pixel belongs to an object
MIN_BRIGHT_PIXELS = 20
MAX_MASKED_SHARE = 0.9  # of the bright pixels
MIN_STREAK_LENGTH = 8.0  # in widths: scratches and trails are longer, and no objects


def mask_findings(y: FloatArray, observed: BoolArray) -> tuple[Finding, ...]:
    """Return a finding if a mask hides nearly all objects of an image.

    Masks of detected objects are often taken for masks of bad pixels. Scratches and trails, which are
    bright as well, are not counted.

    Parameters
    ----------
    y : (T, C, Z, Y, X) float32
        The image, with finite values where it is masked.
    observed : (T, C, Z, Y, X) bool
        False where it is masked.
    """
    bright = masked = 0
    for plane, known in zip(
        y.reshape(-1, *y.shape[-2:]), observed.reshape(-1, *y.shape[-2:]), strict=True
    ):
        hidden = ~known & np.isfinite(plane)
        if hidden.any() and known.any():
            is_bright = _bright_pixels(plane, known)
            is_bright &= ~_streaks(is_bright & hidden)
            bright += int(np.count_nonzero(is_bright))
            masked += int(np.count_nonzero(is_bright & hidden))
    if bright < MIN_BRIGHT_PIXELS or masked < MAX_MASKED_SHARE * bright:
        return ()
    share = f"{100 * masked / bright:.0f} % of the pixels of bright objects"
    return (Finding("check", f"the mask covers {share}: they are inferred, not restored"),)


def _bright_pixels(plane: FloatArray, known: BoolArray) -> BoolArray:
    """Pixels of objects that are wider than a cosmic ray, and far above the background."""
    from astropy.stats import mad_std  # both take a second to import
    from scipy.ndimage import median_filter

    values = plane[known]
    level, noise = np.median(values), mad_std(values)
    smooth = median_filter(np.where(np.isfinite(plane), plane, level), 3)
    return np.asarray(smooth > level + BRIGHT_SIGMAS * noise)


def _streaks(pixels: BoolArray) -> BoolArray:
    """Connected pixels that are much longer, by their second moments, than wide on average."""
    from scipy.ndimage import find_objects, label

    labels, _ = label(pixels, np.ones((3, 3)))
    streaks = np.zeros(pixels.shape, bool)
    for number, window in enumerate(find_objects(labels), start=1):
        part = labels[window] == number
        if max(part.shape) >= MIN_STREAK_LENGTH:
            square_length = 12 * np.linalg.eigvalsh(np.cov(np.nonzero(part)))[-1]
            streaks[window] |= part & (square_length >= MIN_STREAK_LENGTH * np.count_nonzero(part))
    return streaks
