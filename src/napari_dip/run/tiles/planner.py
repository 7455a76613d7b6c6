"""How an image is divided into tiles."""

from __future__ import annotations

import math
from typing import NamedTuple

from napari_dip.core.errors import SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.physics.regularizers import Regularization
from napari_dip.prior.amortized import CELL_PX
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiles.tile import (
    TILE_BLEND_PX,
    TILE_MARGIN_PX,
    TILE_MULTIPLE_PX,
    Tile,
    application_grid,
    tile_grid,
)

MAX_UNTILED_PX = 1024  # side of the largest square that is not tiled
DEFAULT_TILE_PX = 640  # where memory allows
MIN_TILE_PX = 128
MIN_AMORTIZED_PX = 750_000  # pixels from which a network for the whole image is better and faster
MIN_AMORTIZED_SIDE_PX = 128
MAX_MISSING_FOR_PATCHES = 0.5  # of the pixels, which are filled from their neighbors
APPLICATION_TILE_PX = 1024  # side of the parts to which it is applied, without their margins


class TilePlan(NamedTuple):
    """How an image is restored.

    Attributes
    ----------
    tiles : tuple of Tile
        One if size and memory allow, or if the recipe does not support tiling.
    note : str
        Why; empty for one tile.
    is_amortized : bool
        Whether one network is fitted to crops of the whole, and applied to the tiles.
    """

    tiles: tuple[Tile, ...]
    note: str = ""
    is_amortized: bool = False


def plan_tiles(
    recipe: Recipe,
    data: FitData,
    device: torch.device,
    max_side: int | None = None,
    *,
    may_amortize: bool = True,
) -> TilePlan:
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
    may_amortize : bool
        Whether an amortized fit is an option; not after one failed.

    Raises
    ------
    SettingsError
        If the settings ask for an amortized fit of what has none.
    """
    height, width = data.y.shape[-2:]
    if may_amortize and is_amortized(recipe, data):
        side = min(APPLICATION_TILE_PX, max_side or APPLICATION_TILE_PX) // CELL_PX * CELL_PX
        tiles = application_grid(height, width, max(side, CELL_PX), CELL_PX)
        return TilePlan(tiles, "one network for the whole image, fitted to crops of it", True)
    method = recipe.solver.method
    if method == "patches":
        _check_patches(recipe, data)
    whole = TilePlan(tile_grid(height, width, max(height, width), 0))
    if not supports_tiling(recipe) or method == "whole":
        return whole
    corner = data.crop(slice(0, min(height, MIN_TILE_PX)), slice(0, min(width, MIN_TILE_PX)))
    operator = recipe.operator.build(corner)
    upsampling = math.sqrt(operator.scale_factor[0] * operator.scale_factor[1])
    per_pixel = upsampling**2 * bytes_per_pixel(recipe, data.channel_layout, device)
    needed, available = height * width * per_pixel, recipe.compute.memory_limit_bytes(device)
    margin = TILE_MARGIN_PX + (operator.valid_region[0].start or 0)
    if recipe.compute.tile_size is not None:
        side = recipe.compute.tile_size
    elif (
        method != "tiled" and needed <= available and height * width * upsampling**2 <= MAX_UNTILED_PX**2
    ):
        side = max(height, width)
    else:
        side = int(min(DEFAULT_TILE_PX / upsampling, math.sqrt(available / per_pixel)))
    smallest = max(MIN_TILE_PX / upsampling, 2 * (2 * margin + TILE_BLEND_PX))
    smallest = math.ceil(smallest / TILE_MULTIPLE_PX) * TILE_MULTIPLE_PX
    tiles = tile_grid(height, width, max(min(side, max_side or side), smallest), margin)
    if len(tiles) == 1 or all(tile.cut(data).is_constant for tile in tiles):
        return whole
    size = " x ".join(str(len(weights)) for weights in reversed(tiles[0].weights))
    note = f"in {len(tiles)} tiles of {size} pixels"
    if needed > available:
        note += (
            f", because the whole needs about {needed / 1e9:.2g} GB of {available / 1e9:.2g} available"
        )
    return TilePlan(tiles, note)


def is_amortized(recipe: Recipe, data: FitData) -> bool:
    """Whether one network is fitted to crops of the whole image.

    Raises
    ------
    SettingsError
        If the settings ask for it, and it cannot be.
    """
    method, (height, width) = recipe.solver.method, data.y.shape[-2:]
    if method not in ("auto", "amortized"):
        return False
    obstacles = _obstacles(recipe, data) | {
        "self-supervision is switched off": recipe.self_supervision.method == "none",
        "its noise is that of a whole image": not recipe.noise.supports_tiling,
        f"it is smaller than {MIN_AMORTIZED_SIDE_PX} pixels": min(height, width) < MIN_AMORTIZED_SIDE_PX,
    }
    reasons = [reason for reason, applies in obstacles.items() if applies]
    if method == "amortized" and reasons:
        raise SettingsError(
            f"the image has no amortized fit, because {reasons[0]}: choose another solver.method",
            setting="solver.method",
        )
    is_large = height * width >= MIN_AMORTIZED_PX and recipe.compute.tile_size is None
    return method == "amortized" or (is_large and not reasons)


def _check_patches(recipe: Recipe, data: FitData) -> None:
    """Raise a SettingsError if similar patches alone cannot restore the image."""
    missing, is_jpeg = 1 - float(data.observed.mean()), recipe.noise.kind == "jpeg"
    obstacles = _obstacles(recipe, data) | {
        "observed pixels are to stay as they are": recipe.hard_data_consistency and not is_jpeg,
        "an ensemble needs fits of a network": recipe.ensemble.size > 1,
        f"{missing:.0%} of the pixels are missing": missing > MAX_MISSING_FOR_PATCHES,
    }
    reasons = [reason for reason, applies in obstacles.items() if applies]
    if reasons:
        raise SettingsError(
            f"patches alone cannot restore the image, because {reasons[0]}: choose another quality, or"
            " another solver.method",
            setting="solver.method",
        )


def _obstacles(recipe: Recipe, data: FitData) -> dict[str, bool]:
    """What stands in the way of denoising an image plane by plane, and whether it does."""
    layout = data.channel_layout
    return {
        "the operator is not the identity": recipe.operator.kind != "identity",
        "there are regularizers": recipe.regularization != Regularization(),
        "the network has a guide": bool(recipe.network_input.auxiliary),
        "planes are restored jointly": layout.is_stack,
        "a signal equation joins images": recipe.signal.kind != "none",
    }


def supports_tiling(recipe: Recipe) -> bool:
    """Whether an image can be restored in tiles."""
    parts = (recipe.operator, recipe.network_input, recipe.noise)
    return all(part.supports_tiling for part in parts)


class TilePlanner:
    """The device of a run, and tiles that its memory can hold."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._max_side: int | None = None
        self._memory_note = self._tiling_note = self._failure_note = ""

    @property
    def note(self) -> str:
        """Why images are restored in tiles, or on another device than the requested one; or empty."""
        return "; ".join(filter(None, (self._memory_note, self._failure_note, self._tiling_note)))

    def plan(self, recipe: Recipe, data: FitData) -> TilePlan:
        """Return the tiles in which `data` are restored; one if possible."""
        may_amortize = not self._failure_note
        plan = plan_tiles(recipe, data, self.device, self._max_side, may_amortize=may_amortize)
        self._tiling_note = plan.note
        return plan

    def give_up_amortizing(self, reason: str) -> None:
        """Fit the whole, or tiles, from now on, because of `reason`."""
        self._failure_note = f"not with one network for the whole image, because {reason}"

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
