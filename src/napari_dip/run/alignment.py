"""Drift: the frames of a series laid over each other, before they are restored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import NOT_ON_IMAGE_GRID, FloatArray
from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.physics.registration import estimate_shift

NOISE_SIGMA_PX, BACKGROUND_SIGMA_PX = (
    2,
    20,
)  # standard deviations of what is noise, and of what is background. [pixel]


@dataclass(frozen=True)
class FrameAlignment:
    """Where each frame of a series lies on a canvas that all of them fit on.

    Attributes
    ----------
    corners : sequence of (row, column)
        Of each frame's first pixel.
    side : (height, width)
        Of a frame.
    """

    offsets: Sequence[tuple[int, int]]
    frame_shape: tuple[int, int]

    @classmethod
    def from_frames(cls, observation: Observation) -> Self:
        """As the pictures tell, to whole pixels: noise is not mixed, and less than half a pixel is left.

        Every frame is compared with the one in the middle, and then with the mean of all.
        """
        pictures = [_band_pass(frame) for frame in observation.y]
        steps = np.zeros((len(pictures), 2))
        target = pictures[len(pictures) // 2]
        for _ in range(2):
            steps = np.array([estimate_shift(target, one, upsample_factor=2) for one in pictures])
            whole = np.round(steps).astype(int)
            target = np.mean([_roll(p, s) for p, s in zip(pictures, whole, strict=True)], axis=0)
        corners = np.round(steps).astype(int)
        corners -= corners.min(axis=0)
        return cls([(int(y), int(x)) for y, x in corners], observation.y.shape[-2:])

    @property
    def max_shift(self) -> tuple[int, int]:
        """How far the frames are apart at the most, in rows and columns. [pixel]"""
        rows, columns = zip(*self.offsets, strict=True)
        return max(rows), max(columns)

    @property
    def note(self) -> str:
        """What was found, for the verdict."""
        return f"frames up to {max(self.max_shift)} pixels apart were laid over each other"

    def align(self, observation: Observation) -> Observation:
        """The series on the canvas, where nothing is observed beside a frame.

        Raises
        ------
        SettingsError
            If it has companions of another size, which cannot be moved along.
        """
        extras = {}
        for name, extra in observation.auxiliary.items():
            if name not in NOT_ON_IMAGE_GRID and extra.shape[-2:] != self.frame_shape:
                raise SettingsError(
                    f"stack.align moves what has the frames' size, and the {name} has another: switch"
                    " it off, or give one of that size"
                )
            extras[name] = extra if name in NOT_ON_IMAGE_GRID else self._place_on_union(extra, np.nan)
        y, observed = (
            self._place_on_union(observation.y, np.nan),
            self._place_on_union(observation.observed, value=False),
        )
        return replace(observation, y=y, observed=observed, auxiliary=extras)

    def crop_back(self, series: NDArray[Any], zoom: tuple[float, float]) -> NDArray[Any]:
        """The frames of a series (T, C, Z, Y, X) on the canvas, `zoom` times finer."""
        down, across = (round(z) for z in zoom)
        height, width = down * self.frame_shape[0], across * self.frame_shape[1]
        frames = arrays.empty((*series.shape[:-2], height, width), series.dtype)
        for frame, canvas, (row, column) in zip(frames, series, self.offsets, strict=True):
            top, left = down * row, across * column
            frame[...] = canvas[..., top : top + height, left : left + width]
        return frames

    def _place_on_union(self, series: NDArray[Any], value: float) -> NDArray[Any]:
        """A series (T or 1, C, Z, Y, X) on the canvas, with `value` beside its frames."""
        size = (self.frame_shape[0] + self.max_shift[0], self.frame_shape[1] + self.max_shift[1])
        canvas = arrays.full((len(self.offsets), *series.shape[1:3], *size), value, series.dtype)
        for number, (row, column) in enumerate(self.offsets):
            rows, columns = (
                slice(row, row + self.frame_shape[0]),
                slice(column, column + self.frame_shape[1]),
            )
            canvas[number, ..., rows, columns] = series[number if len(series) > 1 else 0]
        canvas.setflags(write=False)
        return canvas


def _band_pass(frame: FloatArray) -> NDArray[np.float64]:
    """What a frame (C, Z, Y, X) shows, between noise and background, in its noise; (Y, X)."""
    from scipy.ndimage import gaussian_filter

    total = np.zeros(frame.shape[-2:])
    for plane in frame.reshape(-1, *frame.shape[-2:]).astype(float):
        if not np.isfinite(plane).any():
            continue
        filled = np.nan_to_num(plane, nan=float(np.nanmedian(plane)))
        total += gaussian_filter(filled, NOISE_SIGMA_PX) - gaussian_filter(filled, BACKGROUND_SIGMA_PX)
    return total


def _roll(picture: NDArray[np.float64], step: NDArray[np.int_]) -> NDArray[np.float64]:
    return np.roll(picture, tuple(step), axis=(0, 1))
