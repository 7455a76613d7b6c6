"""Axes: how arrays of any layout become (T, C, Z, Y, X)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ObservationError

CANONICAL_AXES = "TCZYX"
SMALLEST_SIDE = 32  # pixels
NOT_ON_IMAGE_GRID = ("psf",)  # auxiliary data that belong to no place in the image

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_EXAMPLES = {
    3: "'CYX' or 'YXC' (channels), 'TYX' (a time series), 'ZYX' (a volume)",
    4: "'TCYX', 'ZCYX', 'TZYX', 'TYXC' ...",
    5: "'TCZYX' or 'TZCYX' ...",
}


class ChannelLayout(NamedTuple):
    """What the channels of a scene stand for: all times, channels and depths, in this order."""

    times: int
    channels: int
    depths: int
    z_spacing: float = 1.0
    """Distance between two depths over that between two pixels."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, C, Z)."""
        return self[:3]

    @property
    def num_planes(self) -> int:
        """Number of planes."""
        return self.times * self.channels * self.depths

    @property
    def is_stack(self) -> bool:
        """Whether there are several times or depths."""
        return self.times * self.depths > 1


def infer_axes(shape: tuple[int, ...], *, channel_axis: int | None = None) -> str:
    """Return the axes of an array without axis names.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    channel_axis : int, optional
        Which axis holds channels; negative numbers count from the end.

    Raises
    ------
    ObservationError
        If there is more than one choice.

    Examples
    --------
    >>> infer_axes((64, 48))
    'YX'
    >>> infer_axes((64, 48, 3), channel_axis=-1)
    'YXC'
    """
    ndim = len(shape)
    if channel_axis is None:
        if ndim == 2:
            return "YX"
    elif not -ndim <= channel_axis < ndim:
        raise ObservationError(f"channel_axis is {channel_axis} and the image has {ndim} axes")
    elif ndim == 3:
        letters = ["Y", "X"]
        letters.insert(channel_axis % ndim, "C")
        return "".join(letters)
    examples = _EXAMPLES.get(ndim, "2 to 5 letters of 'TCZYX'")
    raise ObservationError(
        f"the axes of an array of shape {tuple(shape)} are ambiguous: give axes, such as {examples}"
    )


def axes_from_names(names: Sequence[object]) -> str:
    """Return axis letters for names such as ``("time", "channel", "y", "x")``; '?' for unknown ones."""
    letters = {
        "t": "T", "time": "T", "frame": "T", "c": "C", "channel": "C", "channels": "C", "band": "C",
        "s": "C", "rgb": "C", "wavelength": "C", "z": "Z", "depth": "Z", "plane": "Z", "y": "Y",
        "row": "Y", "rows": "Y", "lat": "Y", "latitude": "Y", "x": "X", "col": "X", "column": "X",
        "columns": "X", "lon": "X", "longitude": "X",
    }  # fmt: skip
    return "".join(letters.get(str(name).strip().lower(), "?") for name in names)


def validate_letters(axes: str, data: arrays.Lazy, name: str) -> str:
    """Return `axes` in capitals, with samples as channels, if they can be those of `data`.

    Raises
    ------
    ObservationError
        If they cannot.
    """
    axes = axes.upper().replace("S", "C")
    if len(axes) != len(data.shape):
        raise ObservationError(
            f"axes '{axes}' name {len(axes)} axes and the {name} has {len(data.shape)}, of shape"
            f" {tuple(data.shape)}"
        )
    if unknown := set(axes) - set(CANONICAL_AXES):
        raise ObservationError(
            f"axis '{min(unknown)}' of '{axes}' is unknown: use T (time), C (channel), Z, Y and X"
        )
    if len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise ObservationError(f"axes '{axes}' must name Y and X, and each axis once")
    return axes


def validate_axes(axes: str, data: arrays.Lazy) -> str:
    """Return the validated `axes` of an image that is large enough.

    Raises
    ------
    ObservationError
        If it is not, or they cannot be its axes.
    """
    axes = validate_letters(axes, data, "image")
    height, width = (data.shape[axes.index(letter)] for letter in "YX")
    if height * width < SMALLEST_SIDE**2:
        raise ObservationError(
            f"the image is {width} x {height} pixels: at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
            " are needed"
        )
    return axes


def guess_axes(data: NDArray[Any], image_axes: str) -> str:
    """Return the axes of auxiliary data, from those of the image and from where the short axis is."""
    if data.ndim == len(image_axes):
        return image_axes
    if data.ndim == 3:
        return "CYX" if data.shape[0] < data.shape[-1] else "YXC"
    return CANONICAL_AXES[-data.ndim :]


def to_canonical(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return `array` with the axes (T, C, Z, Y, X), of length 1 where it has none."""
    order = [axes.index(letter) for letter in CANONICAL_AXES if letter in axes]
    sizes = dict(zip(axes, array.shape, strict=True))
    return array.transpose(order).reshape([sizes.get(letter, 1) for letter in CANONICAL_AXES])


def crop_auxiliary(
    name: str, array: FloatArray, image_shape: tuple[int, ...], rows: slice, columns: slice
) -> FloatArray:
    """Return the rows and columns of auxiliary data that belong to those of an image (Y, X)."""
    finer, rest = divmod(array.shape[-1], image_shape[-1])
    if name in NOT_ON_IMAGE_GRID or rest or array.shape[-2] != finer * image_shape[-2]:
        return array
    return array[
        ..., finer * rows.start : finer * rows.stop, finer * columns.start : finer * columns.stop
    ]
