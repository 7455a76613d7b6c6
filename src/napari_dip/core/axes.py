"""Axes: how arrays of any layout become (T, C, Z, Y, X)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ObservationError

CANONICAL_AXES = "TCZYX"


SMALLEST_SIDE = 32


NOT_ON_IMAGE_GRID = ("psf",)  # companions that belong to no place of the image


FloatArray = NDArray[np.float32]


BoolArray = NDArray[np.bool_]


class ChannelLayout(NamedTuple):
    """What the channels of a scene stand for, in this order."""

    times: int
    channels: int
    depths: int
    z_spacing: float = 1.0
    """How many times farther apart the depths are than pixels."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, C, Z)."""
        return self[:3]

    @property
    def num_planes(self) -> int:
        """How many planes there are."""
        return self.times * self.channels * self.depths


def validate_letters(axes: str, data: arrays.Lazy, name: str) -> str:
    """`axes` in capitals, samples as channels, if they can be those of `data`."""
    axes = axes.upper().replace("S", "C")
    if len(axes) != len(data.shape):
        raise ObservationError(
            f"axes '{axes}' name {len(axes)} axes but the {name} has {len(data.shape)}, of shape"
            f" {data.shape}"
        )
    if unknown := set(axes) - set(CANONICAL_AXES):
        raise ObservationError(
            f"axis '{min(unknown)}' of '{axes}' is unknown; use T (time), C (channel), Z, Y and X"
        )
    if len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise ObservationError(f"axes '{axes}' must name Y and X, and each axis once")
    return axes


def guess_axes(data: NDArray[Any], image_axes: str) -> str:
    if data.ndim == len(image_axes):
        return image_axes
    if data.ndim == 3:
        return "CYX" if data.shape[0] < data.shape[-1] else "YXC"
    return CANONICAL_AXES[-data.ndim :]


def validate_axes(axes: str, data: arrays.Lazy) -> str:
    axes = validate_letters(axes, data, "array")
    height, width = (data.shape[axes.index(a)] for a in "YX")
    if height * width < SMALLEST_SIDE**2:
        raise ObservationError(
            f"the image is {width} x {height} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
            " are needed"
        )
    return axes


def to_canonical(array: NDArray[Any], axes: str) -> NDArray[Any]:
    order = [axes.index(letter) for letter in CANONICAL_AXES if letter in axes]
    sizes = dict(zip(axes, array.shape, strict=True))
    return array.transpose(order).reshape([sizes.get(letter, 1) for letter in CANONICAL_AXES])
