"""Crops: a large frame is restored part by part, as memory allows, and the parts are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation

TILE_MULTIPLE_PX = 32  # pixels: sides are multiples, so that networks need no padding
TILE_MARGIN_PX = 16  # pixels at the border of a crop that do not count, where others show them
TILE_BLEND_PX = 32  # pixels over which one crop fades into the next
NOISE_SAMPLE_PX, MAX_NOISE_SAMPLES = (
    252,
    16,
)  # pixels along each side of what tells the noise, in whole blocks; how many


@dataclass(frozen=True, eq=False)
class Tile:
    """Some rows and columns of a frame, and how much of the result is theirs.

    Attributes
    ----------
    rows, columns : slice
        Of the frame, in pixels of the data.
    weights : pair of (rows,) and (columns,) float32
        From 0, at a border within the frame, to 1.
    """

    rows: slice
    columns: slice
    weights: tuple[FloatArray, FloatArray]

    def cut(self, frame: Observation) -> Observation:
        """This part of `frame`."""
        return frame.crop(self.rows, self.columns)


@dataclass(eq=False)
class TileBlender:
    """Planes (..., Y, X), joined of what crops show, in their weighted mean; NaN where none was yet."""

    planes: FloatArray
    scale_factor: tuple[float, float] = (1.0, 1.0)
    _weights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._weights = arrays.full(self.planes.shape[-2:], 0, np.float32)

    def add(self, crop: Tile, values: FloatArray) -> None:
        """The planes (..., y, x) of one more crop."""
        place, weights = self.slices(crop), self._weights_of(crop)
        self._join(self.planes, crop, values)
        self._weights[place] += weights

    def with_tile(self, crop: Tile, values: FloatArray) -> FloatArray:
        """The planes were this crop among them; a copy."""
        planes = self.planes.copy()
        self._join(planes, crop, values)
        return planes

    def _join(self, planes: FloatArray, crop: Tile, values: FloatArray) -> None:
        weights, place = self._weights_of(crop), (..., *self.slices(crop))
        share = weights / np.maximum(weights + self._weights[place], 1e-30)
        before = np.where(share < 1, planes[place], 0)
        planes[place] = np.where(share > 0, before + share * (values - before), before)

    def slices(self, crop: Tile) -> tuple[slice, slice]:
        """The rows and columns of the planes that a crop shows."""
        rows, columns = (
            slice(round(along.start * zoom), round(along.stop * zoom))
            for along, zoom in zip((crop.rows, crop.columns), self.scale_factor, strict=True)
        )
        return rows, columns

    def _weights_of(self, crop: Tile) -> FloatArray:
        """The weights of each pixel of the result, (y, x)."""
        lines = [
            w[(np.arange(round(z * len(w))) / z).astype(int)]
            for w, z in zip(crop.weights, self.scale_factor, strict=True)
        ]
        return np.outer(*lines)


def tile_grid(height: int, width: int, side: int, margin: int) -> tuple[Tile, ...]:
    """Crops of equal size that cover a frame, row by row, there and back, each beside the last.

    They overlap by twice the `margin`, which does not count, and `BLEND` pixels.
    """
    rows, columns = _axis_tiles(height, side, margin), _axis_tiles(width, side, margin)
    return tuple(
        Tile(rows=row, columns=column, weights=(down, across))
        for number, (row, down) in enumerate(rows)
        for column, across in (columns if number % 2 == 0 else reversed(columns))
    )


def _axis_tiles(length: int, side: int, margin: int) -> list[tuple[slice, FloatArray]]:
    """The pieces of one axis, with the weight of each pixel."""
    if side >= length:
        return [(slice(0, length), np.ones(length, np.float32))]
    overlap = 2 * margin + TILE_BLEND_PX
    side -= side % TILE_MULTIPLE_PX
    number = math.ceil((length - overlap) / (side - overlap))
    size = math.ceil((length + (number - 1) * overlap) / number / TILE_MULTIPLE_PX) * TILE_MULTIPLE_PX
    size = min(size, length)
    pieces = []
    for start in np.linspace(0, length - size, number).round().astype(int).tolist():
        pixels = np.arange(size)
        before = pixels + 0.5 if start > 0 else np.inf
        after = size - pixels - 0.5 if start + size < length else np.inf
        inside = np.clip((np.minimum(before, after) - margin) / TILE_BLEND_PX, 0, 1)
        weights = np.sin(np.pi / 2 * inside) ** 2 * np.ones(size)
        pieces.append((slice(start, start + size), weights.astype(np.float32)))
    return pieces


def noise_sample(frame: Observation, crops: tuple[Tile, ...]) -> Observation:
    """A smaller frame that shows the same noise: middles of its `crops`, one below the other."""
    patches = []
    for crop in crops[:: math.ceil(len(crops) / MAX_NOISE_SAMPLES)]:
        places = []
        for along, length in zip((crop.rows, crop.columns), frame.y.shape[-2:], strict=True):
            side = min(NOISE_SAMPLE_PX, length)
            start = min(max((along.start + along.stop - side) // 2, 0), length - side)
            places.append(slice(start, start + side))
        patches.append(frame.crop(*places))
    first, *others = [patch for patch in patches if not patch.is_constant] or [frame]
    return first.concatenate_rows(others)
