"""Tiles: parts of a large image that are restored one after another and blended."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData

TILE_MULTIPLE_PX = 32  # sides are multiples of it, so that networks need no padding
TILE_MARGIN_PX = 16  # at the border of a tile, without weight where other tiles overlap
TILE_BLEND_PX = 32  # over which one tile fades into the next
NOISE_SAMPLE_PX = 252  # side of the patches in which the noise is measured
MAX_NOISE_SAMPLES = 16

_Piece: TypeAlias = tuple[slice, FloatArray]


@dataclass(frozen=True, eq=False)
class Tile:
    """Some rows and columns of an image, and their weights in the result.

    Attributes
    ----------
    rows, columns : slice
        Of the image, in pixels of the data.
    weights : pair of (rows,) and (columns,) float32
        From 0, at a border inside the image, to 1.
    """

    rows: slice
    columns: slice
    weights: tuple[FloatArray, FloatArray]

    def cut(self, data: FitData) -> FitData:
        """Return this part of `data`."""
        return data.crop(self.rows, self.columns)


@dataclass(eq=False)
class TileBlender:
    """Planes (..., Y, X), the weighted mean of tiles; NaN where there is none yet."""

    planes: FloatArray
    scale_factor: tuple[float, float] = (1.0, 1.0)
    _weights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._weights = arrays.full(self.planes.shape[-2:], 0, np.float32)

    def add(self, tile: Tile, values: FloatArray) -> None:
        """Add the planes (..., y, x) of a tile."""
        slices, weights = self.slices(tile), self._weights_of(tile)
        self._blend(self.planes, tile, values)
        self._weights[slices] += weights

    def with_tile(self, tile: Tile, values: FloatArray) -> FloatArray:
        """Return a copy of the planes with one more tile."""
        planes = self.planes.copy()
        self._blend(planes, tile, values)
        return planes

    def _blend(self, planes: FloatArray, tile: Tile, values: FloatArray) -> None:
        weights, slices = self._weights_of(tile), (..., *self.slices(tile))
        share = weights / np.maximum(weights + self._weights[slices], 1e-30)
        before = np.where(share < 1, planes[slices], 0)
        planes[slices] = np.where(share > 0, before + share * (values - before), before)

    def slices(self, tile: Tile) -> tuple[slice, slice]:
        """Return the rows and columns of the planes that a tile covers."""
        rows, columns = (
            slice(round(along.start * factor), round(along.stop * factor))
            for along, factor in zip((tile.rows, tile.columns), self.scale_factor, strict=True)
        )
        return rows, columns

    def _weights_of(self, tile: Tile) -> FloatArray:
        """The weights of each pixel of the result, (y, x)."""
        lines = [
            weights[(np.arange(round(factor * len(weights))) / factor).astype(int)]
            for weights, factor in zip(tile.weights, self.scale_factor, strict=True)
        ]
        return np.outer(*lines)


def tile_grid(height: int, width: int, side: int, margin: int) -> tuple[Tile, ...]:
    """Return tiles of equal size that cover an image, row by row in alternating direction.

    They overlap by twice the `margin`, which has no weight, and `TILE_BLEND_PX`.
    """
    return _compose(_axis_tiles(height, side, margin), _axis_tiles(width, side, margin))


def application_grid(height: int, width: int, side: int, margin: int) -> tuple[Tile, ...]:
    """Return tiles that share an image without blending: each has `side` pixels of it, and a `margin`
    around them without weight.
    """
    return _compose(_axis_shares(height, side, margin), _axis_shares(width, side, margin))


def _compose(rows: list[_Piece], columns: list[_Piece]) -> tuple[Tile, ...]:
    """The tiles of all pieces of both axes, row by row in alternating direction."""
    return tuple(
        Tile(rows=row, columns=column, weights=(down, across))
        for number, (row, down) in enumerate(rows)
        for column, across in (columns if number % 2 == 0 else reversed(columns))
    )


def _axis_shares(length: int, side: int, margin: int) -> list[_Piece]:
    """The pieces of one axis, with weights of 1 in `side` pixels and 0 in the margins."""
    pieces = []
    for first in range(0, length, side):
        pixels = np.arange(max(first - margin, 0), min(first + side + margin, length))
        inside = (first <= pixels) & (pixels < first + side)
        pieces.append((slice(int(pixels[0]), int(pixels[-1]) + 1), inside.astype(np.float32)))
    return pieces


def _axis_tiles(length: int, side: int, margin: int) -> list[_Piece]:
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


def noise_sample(data: FitData, tiles: tuple[Tile, ...]) -> FitData:
    """Return smaller data with the same noise: the centers of some `tiles`, one below the other."""
    patches = []
    for tile in tiles[:: math.ceil(len(tiles) / MAX_NOISE_SAMPLES)]:
        slices = []
        for along, length in zip((tile.rows, tile.columns), data.y.shape[-2:], strict=True):
            side = min(NOISE_SAMPLE_PX, length)
            start = min(max((along.start + along.stop - side) // 2, 0), length - side)
            slices.append(slice(start, start + side))
        patches.append(data.crop(*slices))
    first, *others = [patch for patch in patches if not patch.is_constant] or [data]
    return first.concatenate_rows(others)
