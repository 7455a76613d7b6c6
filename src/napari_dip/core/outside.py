"""Pixels outside the footprint of an image: what joins the border of the frame without data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray, FloatArray

INSIDE, BLANK, ZERO = 0, 1, 2
"""Codes of a pixel: inside, not finite outside, exactly 0 outside."""

MIN_WIDTH_PX = 17  # of a region outside; bad columns that reach the border are narrower
MIN_RIM_SHARE = 0.3  # of the median inside: at the rim an image that is cut out is as bright
MIN_RIM_COUNTS = 5  # of whole numbers; fewer photons fade to 0
MAX_ZERO_SHARE = 0.01  # of the pixels inside that are 0, where zeros at the border mean nothing


def find_outside(y: FloatArray) -> NDArray[np.uint8] | None:
    """Return the code of each pixel of y (T, C, Z, Y, X), or None if all are inside.

    Outside are wide regions at the border of the frame that are not finite, such as the sky off the limb
    of the Sun, or exactly 0, such as the corners of a frame that was turned.
    """
    codes: NDArray[np.uint8] | None = None
    for index in np.ndindex(y.shape[:3]):
        found = _find_in_plane(y[index])
        if found.any():
            codes = np.zeros(y.shape, np.uint8) if codes is None else codes
            codes[index] = found
    return codes


def _find_in_plane(plane: FloatArray) -> NDArray[np.uint8]:
    blank, zero = ~np.isfinite(plane), plane == 0
    codes = np.where(_wide_at_border(blank), np.uint8(BLANK), np.uint8(INSIDE))
    outside = _wide_at_border(zero)
    if outside.any() and _is_cut_out(plane, outside, ~outside & ~blank):
        codes[outside] = ZERO
    return codes


def _is_cut_out(plane: FloatArray, outside: BoolArray, inside: BoolArray) -> bool:
    """Whether an image ends where it is 0, instead of fading to 0: it has few zeros elsewhere, and its
    values at the rim are those of the rest.
    """
    from scipy.ndimage import binary_dilation

    values = np.abs(plane[inside])
    if not values.size or np.ptp(values) == 0 or np.mean(values == 0) > MAX_ZERO_SHARE:
        return False
    rim = np.abs(plane[inside & binary_dilation(outside, iterations=2)])
    if not rim.size or np.median(rim) < MIN_RIM_SHARE * np.median(values):
        return False
    are_counts = bool(np.all(values == np.rint(values)))
    return not are_counts or float(np.median(rim)) >= MIN_RIM_COUNTS


def _reaches_border(region: BoolArray) -> bool:
    return any(bool(edge.any()) for edge in (region[0], region[-1], region[:, 0], region[:, -1]))


def _wide_at_border(region: BoolArray) -> BoolArray:
    """The parts of a region that are at least `MIN_WIDTH_PX` wide, as if it continued beyond the border,
    and that touch the border.
    """
    from scipy.ndimage import distance_transform_edt, label

    if not _reaches_border(region) or region.all():
        return np.zeros_like(region)
    radius = (MIN_WIDTH_PX - 1) // 2
    wide = np.pad(region, radius, mode="edge")
    core = distance_transform_edt(wide) > radius
    if not core.any():
        return np.zeros_like(region)
    opened = wide & (distance_transform_edt(~core) <= radius + 1)
    inside = slice(radius, -radius)
    labels, _ = label(opened[inside, inside])
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.setdiff1d(edges, [0]))


def restore_outside(
    planes: NDArray[np.floating | np.bool_], codes: NDArray[np.uint8], *, zero: float, blank: float
) -> None:
    """Give the pixels outside of planes (T, C, Z, Y, X) these values, in place.

    The planes may have fewer times than the codes, if these were combined, and be finer by an integer
    factor. Planes of other channels stay as they are.
    """
    if len(planes) < len(codes):
        codes = np.where((codes > INSIDE).all(axis=0), codes.max(axis=0), INSIDE)[None]
    down, across = (
        fine // coarse for fine, coarse in zip(planes.shape[3:], codes.shape[3:], strict=True)
    )
    if min(down, across) < 1:
        return
    codes = codes.repeat(down, axis=3).repeat(across, axis=4)
    if codes.shape != planes.shape:
        return
    planes[codes == ZERO] = zero
    planes[codes == BLANK] = blank
