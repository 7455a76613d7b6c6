"""How an image is cut into tiles."""

from __future__ import annotations

import math

from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiling import TILE_BLEND_PX, TILE_MARGIN_PX, TILE_MULTIPLE_PX, Tile, tile_grid

MAX_UNTILED_PX = 1024  # pixels along the sides of the largest square that is restored as a whole


DEFAULT_TILE_PX = 640  # pixels along each side of a crop, where memory allows


MIN_TILE_PX = 128  # pixels


def plan_tiles(
    recipe: Recipe, frame: Observation, device: torch.device, max_side: int | None = None
) -> tuple[tuple[Tile, ...], str]:
    """The crops in which `frame`, of shape (T, C, 1, Y, X), is restored, and why in so many.

    One where its size and the memory of `device` allow, or the recipe knows no parts; with `largest`
    they are no larger than so many pixels along each side.
    """
    height, width = frame.y.shape[-2:]
    whole = tile_grid(height, width, max(height, width), 0)
    if not supports_tiling(recipe):
        return whole, ""
    sample = frame.crop(slice(0, min(height, MIN_TILE_PX)), slice(0, min(width, MIN_TILE_PX)))
    operator = recipe.operator.build(sample)
    finer = math.sqrt(operator.scale_factor[0] * operator.scale_factor[1])
    each = finer**2 * bytes_per_pixel(recipe, frame.channel_layout, device)
    needed, budget = height * width * each, recipe.compute.memory_limit_bytes(device)
    margin = TILE_MARGIN_PX + (operator.valid_region[0].start or 0)
    if recipe.compute.tile_size is not None:
        side = recipe.compute.tile_size
    elif needed <= budget and height * width * finer**2 <= MAX_UNTILED_PX**2:
        side = max(height, width)
    else:
        side = int(min(DEFAULT_TILE_PX / finer, math.sqrt(budget / each)))
    smallest = max(MIN_TILE_PX / finer, 2 * (2 * margin + TILE_BLEND_PX))
    side = max(min(side, max_side or side), math.ceil(smallest / TILE_MULTIPLE_PX) * TILE_MULTIPLE_PX)
    crops = tile_grid(height, width, side, margin)
    if len(crops) == 1 or all(crop.cut(frame).is_constant for crop in crops):
        return whole, ""
    size = " x ".join(str(len(weights)) for weights in reversed(crops[0].weights))
    why = f"in {len(crops)} crops of {size} pixels"
    if needed > budget:
        why += f", for the whole needs about {needed / 1e9:.2g} GB and {budget / 1e9:.2g} may be used"
    return crops, why


def supports_tiling(recipe: Recipe) -> bool:
    return recipe.operator.supports_tiling and recipe.network_input.supports_tiling


class TilePlanner:
    """What there is to work with: a device, and crops that its memory can hold."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._max_side: int | None = None
        self._memory_note = self._tiling_note = ""

    @property
    def note(self) -> str:
        """Why frames are restored in crops, or on another device than was chosen; or nothing."""
        return "; ".join(filter(None, (self._memory_note, self._tiling_note)))

    def plan(self, recipe: Recipe, frame: Observation) -> tuple[Tile, ...]:
        """The crops in which `frame`, of shape (T, C, 1, Y, X), is restored: one where it can be."""
        crops, self._tiling_note = plan_tiles(recipe, frame, self.device, self._max_side)
        return crops

    def shrink_tiles(self, crops: tuple[Tile, ...], recipe: Recipe) -> bool:
        """Go on with less, for the memory cannot hold such `crops`; False where there is no less."""
        side = max(len(weights) for weights in crops[0].weights)
        if supports_tiling(recipe) and side > MIN_TILE_PX:
            self._max_side = max(side // 2, MIN_TILE_PX)
            self._memory_note = f"the memory of device '{self.device.type}' was full"
        elif self.device.type != "cpu":
            self._memory_note = (
                f"the memory of device '{self.device.type}' was full, and the CPU went on"
            )
            self.device, self._max_side = torch.device("cpu"), None
        else:
            return False
        return True
