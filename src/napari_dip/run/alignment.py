"""Alignment of the frames of a series, before they are restored jointly."""

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

NOISE_SIGMA_PX, BACKGROUND_SIGMA_PX = 2, 20  # of the Gaussians of a band pass
PART_PX = 16  # side of the parts of a frame that confirm a drift
MIN_SIGNIFICANCE = 3.0  # of a drift, from the scatter of these parts
MAX_SIDE_PX = 1024  # of the central part of a frame in which it is measured


@dataclass(frozen=True)
class FrameAlignment:
    """Where each frame of a series lies on a grid that contains all of them.

    Attributes
    ----------
    offsets : sequence of (row, column)
        Of the first pixel of each frame.
    frame_shape : (height, width)
        Of a frame.
    is_sure : bool
        Whether the other frames predict a frame better on this grid.
    """

    offsets: Sequence[tuple[int, int]]
    frame_shape: tuple[int, int]
    is_sure: bool = True

    @classmethod
    def from_frames(cls, observation: Observation) -> Self:
        """Measure the shifts of the frames, to whole pixels, so that noise is not mixed.

        Each frame is compared with the middle one, and then with the mean of all.
        """
        images = [_band_pass(frame) for frame in observation.y]
        shifts = np.zeros((len(images), 2))
        target = images[len(images) // 2]
        for _ in range(2):
            shifts = np.array([estimate_shift(target, image, upsample_factor=2) for image in images])
            rounded = np.round(shifts).astype(int)
            target = np.mean([_roll(i, s) for i, s in zip(images, rounded, strict=True)], axis=0)
        offsets = np.round(shifts).astype(int)
        offsets -= offsets.min(axis=0)
        places = [(int(y), int(x)) for y, x in offsets]
        return cls(places, observation.y.shape[-2:], _predict_better(np.array(images), offsets))

    @property
    def max_shift(self) -> tuple[int, int]:
        """Largest shift between two frames, in rows and columns. [pixel]"""
        rows, columns = zip(*self.offsets, strict=True)
        return max(rows), max(columns)

    @property
    def note(self) -> str:
        """What was measured, for the summary."""
        return f"frames aligned, with shifts of up to {max(self.max_shift)} pixels"

    def obstacle(self, observation: Observation) -> str:
        """Return the name of auxiliary data of another size, which cannot be shifted; empty without."""
        for name, array in observation.auxiliary.items():
            if name not in NOT_ON_IMAGE_GRID and array.shape[-2:] != self.frame_shape:
                return name
        return ""

    def align(self, observation: Observation) -> Observation:
        """Return the series on the common grid; nothing is observed outside a frame.

        Raises
        ------
        SettingsError
            If it has auxiliary data of another size, which cannot be shifted.
        """
        if name := self.obstacle(observation):
            raise SettingsError(
                f"stack.align shifts what has the size of the frames, and the {name} has another:"
                " switch it off, or give one of that size",
                setting="stack.align",
            )
        auxiliary = {
            name: array if name in NOT_ON_IMAGE_GRID else self._place_on_grid(array, np.nan)
            for name, array in observation.auxiliary.items()
        }
        y, observed = (
            self._place_on_grid(observation.y, np.nan),
            self._place_on_grid(observation.observed, value=False),
        )
        return replace(observation, y=y, observed=observed, auxiliary=auxiliary)

    def crop_back(self, series: NDArray[Any], scale_factor: tuple[float, float]) -> NDArray[Any]:
        """Return the frames of a series (T, C, Z, Y, X) on the common grid, `scale_factor` times
        finer.
        """
        down, across = (round(factor) for factor in scale_factor)
        height, width = down * self.frame_shape[0], across * self.frame_shape[1]
        frames = arrays.empty((*series.shape[:-2], height, width), series.dtype)
        for frame, placed, (row, column) in zip(frames, series, self.offsets, strict=True):
            top, left = down * row, across * column
            frame[...] = placed[..., top : top + height, left : left + width]
        return frames

    def _place_on_grid(self, series: NDArray[Any], value: float) -> NDArray[Any]:
        """A series (T or 1, C, Z, Y, X) on the common grid, with `value` outside its frames."""
        height, width = self.frame_shape
        size = (height + self.max_shift[0], width + self.max_shift[1])
        placed = arrays.full((len(self.offsets), *series.shape[1:3], *size), value, series.dtype)
        for number, (row, column) in enumerate(self.offsets):
            inside = (..., slice(row, row + height), slice(column, column + width))
            placed[number][inside] = series[number if len(series) > 1 else 0]
        placed.setflags(write=False)
        return placed


def _predict_better(images: NDArray[np.float32], offsets: NDArray[np.int_]) -> bool:
    """Whether each image is closer to the mean of the others with these offsets than without.

    The mean square of the difference has to fall on average over parts of the frame, by several standard
    errors: cells that move alone are no drift.
    """
    aligned = np.array([_roll(i, offset) for i, offset in zip(images, offsets, strict=True)])
    gain = np.zeros_like(images[0])
    for frame, (image, offset) in enumerate(zip(images, offsets, strict=True)):
        others = np.arange(len(images)) != frame
        unaligned_mean = images[others].mean(axis=0)
        aligned_mean = _roll(aligned[others].mean(axis=0), -offset)
        gain += (image - unaligned_mean) ** 2 - (image - aligned_mean) ** 2
    down, across = offsets.max(axis=0)
    inside = gain[down : len(gain) - down, across : gain.shape[1] - across]
    height, width = (side // PART_PX for side in inside.shape)
    if height * width < 2:
        return False
    blocks = inside[: height * PART_PX, : width * PART_PX].reshape(height, PART_PX, width, PART_PX)
    parts = blocks.mean(axis=(1, 3))
    return bool(parts.mean() > MIN_SIGNIFICANCE * parts.std() / parts.size**0.5)


def _band_pass(frame: FloatArray) -> NDArray[np.float32]:
    """The center of a frame (C, Z, Y, X) without noise and background, summed over planes; (Y, X)."""
    from scipy.ndimage import gaussian_filter

    rows, columns = (arrays.central_slice(side, MAX_SIDE_PX) for side in frame.shape[-2:])
    frame = frame[..., rows, columns]
    total = np.zeros(frame.shape[-2:], np.float32)
    for plane in frame.reshape(-1, *frame.shape[-2:]).astype(float):
        if not np.isfinite(plane).any():
            continue
        filled = np.nan_to_num(plane, nan=float(np.nanmedian(plane)))
        total += gaussian_filter(filled, NOISE_SIGMA_PX) - gaussian_filter(filled, BACKGROUND_SIGMA_PX)
    return total


def _roll(image: NDArray[np.float32], shift: NDArray[np.int_]) -> NDArray[np.float32]:
    return np.roll(image, tuple(shift), axis=(0, 1))
