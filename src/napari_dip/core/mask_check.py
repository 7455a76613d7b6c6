"""A mask that hides the objects of an image instead of its bad pixels."""

from __future__ import annotations

import numpy as np

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray

BRIGHT_SIGMAS = 10.0  # above the median, beyond which a pixel belongs to an object
MIN_BRIGHT_PIXELS = 20
MAX_MASKED_SHARE = 0.9  # of the bright pixels


def mask_findings(y: FloatArray, observed: BoolArray) -> tuple[Finding, ...]:
    """Return a finding if a mask hides nearly all objects of an image.

    Masks of detected objects are often taken for masks of bad pixels.

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
