"""Arrays of any kind as planes (T, C, Z, Y, X)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import CANONICAL_AXES, BoolArray, FloatArray, to_canonical
from napari_dip.core.errors import ObservationError

MAX_SIGMA_RATIO = 1e3  # of the noise of a pixel over the median; larger numbers mark bad pixels


def read_planes(data: arrays.Lazy, axes: str) -> tuple[FloatArray, BoolArray]:
    """Return the pixels with canonical axes, and which of them are finite, read in parts.

    Raises
    ------
    ObservationError
        If a value does not fit in float32.
    """
    sizes = dict(zip(axes, data.shape, strict=True))
    shape = tuple(sizes.get(letter, 1) for letter in CANONICAL_AXES)
    y, observed = arrays.empty(shape, np.float32), arrays.empty(shape, np.bool_)
    for slices in arrays.iter_blocks(shape):
        own = tuple(slices[CANONICAL_AXES.index(letter)] for letter in axes)
        part = to_canonical(np.asarray(data[own]), axes)
        with np.errstate(over="ignore"):
            y[slices] = part
        observed[slices] = np.isfinite(y[slices])
        if np.any(~observed[slices] & np.isfinite(part)):
            raise ObservationError("pixel values above 3.4e38 do not fit in float32: rescale the image")
    return y, observed


def is_usable_noise(sigma: FloatArray) -> BoolArray:
    """Return where the noise (T, C, Z, Y, X) is a positive number, and not a mark for bad pixels."""
    usable = np.isfinite(sigma) & (sigma > 0)
    for plane, known in zip(
        sigma.reshape(-1, *sigma.shape[-2:]), usable.reshape(-1, *sigma.shape[-2:]), strict=True
    ):
        if known.any():
            known &= plane <= MAX_SIGMA_RATIO * np.median(plane[known])
    return usable


def check_real(dtype: np.dtype[Any], name: str) -> None:
    """Refuse values that are no real numbers.

    Raises
    ------
    ObservationError
        If they are complex, or no numbers.
    """
    if np.issubdtype(dtype, np.complexfloating):
        advice = "give its magnitude" if name != "image" else "restore its real part, or its magnitude"
        raise ObservationError(f"the {spoken_name(name)} is complex: {advice}")
    if not (np.issubdtype(dtype, np.number) or dtype == np.bool_):
        raise ObservationError(f"the {spoken_name(name)} has values of type {dtype}: give real numbers")


def spoken_name(name: str) -> str:
    """Return the name of auxiliary data as a sentence has it."""
    return {"psf": "PSF", "coil_maps": "coil maps"}.get(name, name)


def to_bool(
    mask: ArrayLike, shape: tuple[int, ...], axes: str, own_axes: str | None = None
) -> BoolArray:
    """Return where a mask of an image of this shape is nonzero, with canonical axes.

    `own_axes` are those of the mask, where it names them.
    """
    array = np.asarray(mask)
    if own_axes is None or array.shape == shape:
        matched = match_shape(array, "mask", shape, axes)
    else:
        matched = _match_axes(array, own_axes, dict(zip(axes, shape, strict=True)))
    return np.asarray(np.nan_to_num(matched) != 0)


def _match_axes(array: NDArray[Any], axes: str, sizes: dict[str, int]) -> NDArray[Any]:
    """A mask with canonical axes, if each of its own is as long as in the image, or 1.

    Raises
    ------
    ObservationError
        If one is not.
    """
    own = dict(zip(axes, array.shape, strict=True))
    kept = {letter: size for letter, size in own.items() if size > 1 or letter in "YX"}
    if any(sizes.get(letter) != size for letter, size in kept.items()):
        raise ObservationError(
            f"the mask has axes {_spell(own)}, and the image {_spell(sizes)}: leave out an axis, or give"
            " each the length that it has in the image"
        )
    return to_canonical(array.reshape(tuple(kept.values())), "".join(kept))


def _spell(sizes: dict[str, int]) -> str:
    return " x ".join(f"{letter} {size}" for letter, size in sizes.items())


def match_shape(values: ArrayLike, name: str, shape: tuple[int, ...], axes: str) -> NDArray[Any]:
    """Return `values` with canonical axes, of full shape, or shared by the channels or by all planes.

    Raises
    ------
    ObservationError
        If they have another shape.
    """
    array = np.asarray(values)
    sizes = dict(zip(axes, shape, strict=True))
    for shared in ("", "C", "TCZ"):
        own = "".join(letter for letter in axes if letter not in shared)
        if array.shape == tuple(sizes[letter] for letter in own):
            return to_canonical(array, own)
    raise ObservationError(
        f"the {name} of shape {array.shape} does not match the image of shape {shape} with axes "
        f"'{axes}': give the shape of the image, or that without channels, or (Y, X)"
    )
