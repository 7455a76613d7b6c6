"""How an image is cut into tiles."""

from __future__ import annotations

import math

from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiling import BLEND, MARGIN, STRIDE, Crop, layout

LARGE = 1024  # pixels along the sides of the largest square that is restored as a whole


SIDE = 640  # pixels along each side of a crop, where memory allows


SMALLEST = 128  # pixels


def planned(
    recipe: Recipe, frame: Observation, device: torch.device, largest: int | None = None
) -> tuple[tuple[Crop, ...], str]:
    """The crops in which `frame`, of shape (T, C, 1, Y, X), is restored, and why in so many.

    One where its size and the memory of `device` allow, or the recipe knows no parts; with `largest`
    they are no larger than so many pixels along each side.
    """
    height, width = frame.y.shape[-2:]
    whole = layout(height, width, max(height, width), 0)
    if not _can_be_cropped(recipe):
        return whole, ""
    sample = frame.crop(slice(0, min(height, SMALLEST)), slice(0, min(width, SMALLEST)))
    operator = recipe.operator.build(sample)
    finer = math.sqrt(operator.zoom[0] * operator.zoom[1])
    each = finer**2 * bytes_per_pixel(recipe, frame.planes, device)
    needed, budget = height * width * each, recipe.compute.budget(device)
    margin = MARGIN + (operator.window[0].start or 0)
    if recipe.compute.crop is not None:
        side = recipe.compute.crop
    elif needed <= budget and height * width * finer**2 <= LARGE**2:
        side = max(height, width)
    else:
        side = int(min(SIDE / finer, math.sqrt(budget / each)))
    smallest = max(SMALLEST / finer, 2 * (2 * margin + BLEND))
    side = max(min(side, largest or side), math.ceil(smallest / STRIDE) * STRIDE)
    crops = layout(height, width, side, margin)
    if len(crops) == 1 or all(crop.of(frame).is_flat for crop in crops):
        return whole, ""
    size = " x ".join(str(len(weights)) for weights in reversed(crops[0].weights))
    why = f"in {len(crops)} crops of {size} pixels"
    if needed > budget:
        why += f", for the whole needs about {needed / 1e9:.2g} GB and {budget / 1e9:.2g} may be used"
    return crops, why


def _can_be_cropped(recipe: Recipe) -> bool:
    return recipe.operator.local and recipe.code.local


class Means:
    """What there is to work with: a device, and crops that its memory can hold."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._largest: int | None = None
        self._trouble = self._crops = ""

    @property
    def remark(self) -> str:
        """Why frames are restored in crops, or on another device than was chosen; or nothing."""
        return "; ".join(filter(None, (self._trouble, self._crops)))

    def plan(self, recipe: Recipe, frame: Observation) -> tuple[Crop, ...]:
        """The crops in which `frame`, of shape (T, C, 1, Y, X), is restored: one where it can be."""
        crops, self._crops = planned(recipe, frame, self.device, self._largest)
        return crops

    def lessen(self, crops: tuple[Crop, ...], recipe: Recipe) -> bool:
        """Go on with less, for the memory cannot hold such `crops`; False where there is no less."""
        side = max(len(weights) for weights in crops[0].weights)
        if _can_be_cropped(recipe) and side > SMALLEST:
            self._largest = max(side // 2, SMALLEST)
            self._trouble = f"the memory of device '{self.device.type}' was full"
        elif self.device.type != "cpu":
            self._trouble = f"the memory of device '{self.device.type}' was full, and the CPU went on"
            self.device, self._largest = torch.device("cpu"), None
        else:
            return False
        return True
