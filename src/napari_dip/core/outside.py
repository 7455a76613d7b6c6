"""Pixels outside the footprint of an image: what joins the border of the frame without data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray, FloatArray

INSIDE = np.inf
"""Of a pixel that is not outside; the others have the value that they keep."""

MIN_WIDTH_PX = 17  # of a region outside; bad columns that reach the border are narrower
MIN_RIM_SHARE = 0.3  # of the median inside: at the rim an image that is cut out is as bright
MAX_RIM_FRACTION = 0.5  # of the pixels inside, that are next to others: objects on 0 are all rim
MIN_RIM_COUNTS = 5  # of whole numbers; fewer photons fade to 0
MAX_ZERO_SHARE = 0.01  # of the pixels inside that are 0, where zeros at the border mean nothing


def find_outside(y: FloatArray, observed: BoolArray) -> FloatArray | None:
    """Return the value that each pixel outside of y (T, C, Z, Y, X) keeps, or None if all are inside.

    Outside are wide regions at the border of the frame that are not finite, such as the sky off the limb
    of the Sun, or exactly 0, such as the corners of a frame that was turned; and planes with one value,
    such as an opaque alpha channel, or a frame that the camera lost, if others vary.
    """
    outside: FloatArray | None = None
    constant = {index: _constant_of(y[index][observed[index]]) for index in np.ndindex(y.shape[:3])}
    is_any_varying = any(value is None for value in constant.values())
    for index, value in constant.items():
        if value is not None and is_any_varying:
            found = np.full_like(y[index], value)
        else:
            found = _find_in_plane(y[index])
        if not np.all(found == INSIDE):
            outside = np.full(y.shape, INSIDE, np.float32) if outside is None else outside
            outside[index] = found
    return outside


def describe_missing(observed: BoolArray, outside: FloatArray | None) -> str:
    """Return which planes have no data, and how much is outside the others, as clauses."""
    empty = ~observed.any(axis=(3, 4))
    planes = int(empty.sum())
    pixels = 0 if outside is None else int(np.count_nonzero(outside[~empty] != INSIDE))
    have = "have" if planes > 1 else "has"
    clauses = [
        f"{planes} of {empty.size} planes {have} one value or none" if planes else "",
        f"{pixels:,} pixels outside the image left as they were" if pixels else "",
    ]
    return "; ".join(filter(None, clauses))


def _constant_of(values: FloatArray) -> np.float32 | None:
    """The only value that there is; None if there are several, or none."""
    return values[0] if values.size and values.min() == values.max() else None


def _find_in_plane(plane: FloatArray) -> FloatArray:
    blank, zero = ~np.isfinite(plane), plane == 0
    found = np.where(_wide_at_border(blank), np.float32(np.nan), np.float32(INSIDE))
    outside = _wide_at_border(zero)
    if outside.any() and _is_cut_out(plane, outside, ~outside & ~blank):
        found[outside] = 0
    return found


def _is_cut_out(plane: FloatArray, outside: BoolArray, inside: BoolArray) -> bool:
    """Whether an image ends where it is 0, instead of fading to 0, and is not just objects on 0.

    It has few zeros elsewhere, most of it is not at the rim, and there its values are those of the rest.
    """
    from scipy.ndimage import binary_dilation

    values = np.abs(plane[inside])
    if not values.size or np.ptp(values) == 0 or np.mean(values == 0) > MAX_ZERO_SHARE:
        return False
    at_rim = inside & binary_dilation(outside, iterations=2)
    if at_rim.sum() > MAX_RIM_FRACTION * inside.sum():
        return False
    rim = np.abs(plane[at_rim])
    if not rim.size or np.median(rim) < MIN_RIM_SHARE * np.median(values):
        return False
    are_counts = bool(np.all(values == np.rint(values)))
    return not are_counts or float(np.median(rim)) >= MIN_RIM_COUNTS


def _reaches_border(region: BoolArray) -> bool:
    return any(bool(edge.any()) for edge in (region[0], region[-1], region[:, 0], region[:, -1]))


def _wide_at_border(region: BoolArray) -> BoolArray:
    """The parts of a region that are at least `MIN_WIDTH_PX` wide, as if it continued beyond the border,
    and that touch the border. A few pixels in a corner are no such part.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, label

    if not _reaches_border(region) or region.all():
        return np.zeros_like(region)
    radius = (MIN_WIDTH_PX - 1) // 2
    wide = np.pad(region, radius, mode="edge")
    core = distance_transform_edt(wide) > radius
    if not core.any():
        return np.zeros_like(region)
    opened = wide & (distance_transform_edt(~core) <= radius + 1)
    inside = slice(radius, -radius)
    opened = binary_dilation(opened[inside, inside], iterations=radius, mask=region)  # into corners
    labels, _ = label(opened)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    boxes = find_objects(labels)
    sides = [max(s.stop - s.start for s in box) for box in boxes]
    long = 1 + np.flatnonzero(np.array(sides) >= MIN_WIDTH_PX)
    return np.isin(labels, np.intersect1d(edges, long))


def restore_outside(
    planes: NDArray[np.floating | np.bool_], outside: FloatArray, value: float | None = None
) -> None:
    """Give the pixels outside of planes (T, C, Z, Y, X) the values that they keep, or `value`, in place.

    The planes may have fewer times than `outside`, if these were combined, and be finer by an integer
    factor. Planes of other channels stay as they are.
    """
    if len(planes) < len(outside):
        outside = np.where((outside == INSIDE).any(axis=0), np.float32(INSIDE), outside[0])[None]
    down, across = (
        fine // coarse for fine, coarse in zip(planes.shape[3:], outside.shape[3:], strict=True)
    )
    if min(down, across) < 1:
        return
    outside = outside.repeat(down, axis=3).repeat(across, axis=4)
    if outside.shape != planes.shape:
        return
    place = outside != INSIDE
    planes[place] = outside[place] if value is None else value
