"""How an image is divided into tiles."""

from __future__ import annotations

import math

from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiles.tile import TILE_BLEND_PX, TILE_MARGIN_PX, TILE_MULTIPLE_PX, Tile, tile_grid

MAX_UNTILED_PX = 1024  # side of the largest square that is not tiled
DEFAULT_TILE_PX = 640  # where memory allows
MIN_TILE_PX = 128


def plan_tiles(
    recipe: Recipe, data: FitData, device: torch.device, max_side: int | None = None
) -> tuple[tuple[Tile, ...], str]:
    """Return the tiles in which `data` are restored, and a note that says why.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    data : FitData
        What to restore.
    device : torch.device
        Whose memory is the limit.
    max_side : int, optional
        Largest side of a tile. [pixel]

    Returns
    -------
    tiles : tuple of Tile
        One if size and memory allow, or if the recipe does not support tiling.
    note : str
        Empty for one tile.
    """
    height, width = data.y.shape[-2:]
    whole = tile_grid(height, width, max(height, width), 0)
    if not supports_tiling(recipe):
        return whole, ""
    corner = data.crop(slice(0, min(height, MIN_TILE_PX)), slice(0, min(width, MIN_TILE_PX)))
    operator = recipe.operator.build(corner)
    upsampling = math.sqrt(operator.scale_factor[0] * operator.scale_factor[1])
    per_pixel = upsampling**2 * bytes_per_pixel(recipe, data.channel_layout, device)
    needed, available = height * width * per_pixel, recipe.compute.memory_limit_bytes(device)
    margin = TILE_MARGIN_PX + (operator.valid_region[0].start or 0)
    if recipe.compute.tile_size is not None:
        side = recipe.compute.tile_size
    elif needed <= available and height * width * upsampling**2 <= MAX_UNTILED_PX**2:
        side = max(height, width)
    else:
        side = int(min(DEFAULT_TILE_PX / upsampling, math.sqrt(available / per_pixel)))
    smallest = max(MIN_TILE_PX / upsampling, 2 * (2 * margin + TILE_BLEND_PX))
    smallest = math.ceil(smallest / TILE_MULTIPLE_PX) * TILE_MULTIPLE_PX
    tiles = tile_grid(height, width, max(min(side, max_side or side), smallest), margin)
    if len(tiles) == 1 or all(tile.cut(data).is_constant for tile in tiles):
        return whole, ""
    size = " x ".join(str(len(weights)) for weights in reversed(tiles[0].weights))
    note = f"in {len(tiles)} tiles of {size} pixels"
    if needed > available:
        note += (
            f", because the whole needs about {needed / 1e9:.2g} GB of {available / 1e9:.2g} available"
        )
    return tiles, note


def supports_tiling(recipe: Recipe) -> bool:
    """Whether an image can be restored in tiles."""
    return recipe.operator.supports_tiling and recipe.network_input.supports_tiling


class TilePlanner:
    """The device of a run, and tiles that its memory can hold."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._max_side: int | None = None
        self._memory_note = self._tiling_note = ""

    @property
    def note(self) -> str:
        """Why images are restored in tiles, or on another device than the requested one; or empty."""
        return "; ".join(filter(None, (self._memory_note, self._tiling_note)))

    def plan(self, recipe: Recipe, data: FitData) -> tuple[Tile, ...]:
        """Return the tiles in which `data` are restored; one if possible."""
        tiles, self._tiling_note = plan_tiles(recipe, data, self.device, self._max_side)
        return tiles

    def shrink_tiles(self, tiles: tuple[Tile, ...], recipe: Recipe) -> bool:
        """Use smaller tiles, or the CPU, as the memory cannot hold `tiles`; False if there is no way."""
        side = max(len(weights) for weights in tiles[0].weights)
        if supports_tiling(recipe) and side > MIN_TILE_PX:
            self._max_side = max(side // 2, MIN_TILE_PX)
            self._memory_note = f"the memory of device '{self.device.type}' was full"
        elif self.device.type != "cpu":
            self._memory_note = (
                f"the memory of device '{self.device.type}' was full, and the CPU continued"
            )
            self.device, self._max_side = torch.device("cpu"), None
        else:
            return False
        return True
