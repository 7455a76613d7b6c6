"""Crops: a large frame is restored part by part, as memory allows, and the parts are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from napari_dip import arrays
from napari_dip.observation import Floats, Observation, Planes
from napari_dip.recipe import Recipe
from napari_dip.torch_import import torch

LARGE = 1024  # pixels along the sides of the largest square that is restored as a whole
SIDE = 640  # pixels along each side of a crop, where memory allows
SMALLEST = 128  # pixels
STRIDE = 32  # pixels: sides are multiples, so that networks need no padding
MARGIN = 16  # pixels at the border of a crop that do not count, where others show them
BLEND = 32  # pixels over which one crop fades into the next
PATCH, PATCHES = 252, 16  # pixels along each side of what tells the noise, in whole blocks; how many
COPIES = 2.0  # how often what the network keeps for its gradient is in memory at the worst
PER_PIXEL = 600  # bytes besides: code, data, averages


@dataclass(frozen=True, eq=False)
class Crop:
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
    weights: tuple[Floats, Floats]

    def of(self, frame: Observation) -> Observation:
        """This part of `frame`."""
        return frame.crop(self.rows, self.columns)


@dataclass(eq=False)
class Mosaic:
    """Planes (..., Y, X), joined of what crops show, in their weighted mean; NaN where none was yet."""

    planes: Floats
    zoom: tuple[float, float] = (1.0, 1.0)
    _weights: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._weights = arrays.full(self.planes.shape[-2:], 0, np.float32)

    def add(self, crop: Crop, values: Floats) -> None:
        """The planes (..., y, x) of one more crop."""
        place, weights = self.place(crop), self._finer(crop)
        self._join(self.planes, crop, values)
        self._weights[place] += weights

    def with_crop(self, crop: Crop, values: Floats) -> Floats:
        """The planes were this crop among them; a copy."""
        planes = self.planes.copy()
        self._join(planes, crop, values)
        return planes

    def _join(self, planes: Floats, crop: Crop, values: Floats) -> None:
        weights, place = self._finer(crop), (..., *self.place(crop))
        share = weights / np.maximum(weights + self._weights[place], 1e-30)
        before = np.where(share < 1, planes[place], 0)
        planes[place] = np.where(share > 0, before + share * (values - before), before)

    def place(self, crop: Crop) -> tuple[slice, slice]:
        """The rows and columns of the planes that a crop shows."""
        rows, columns = (
            slice(round(along.start * zoom), round(along.stop * zoom))
            for along, zoom in zip((crop.rows, crop.columns), self.zoom, strict=True)
        )
        return rows, columns

    def _finer(self, crop: Crop) -> Floats:
        """The weights of each pixel of the result, (y, x)."""
        lines = [
            w[(np.arange(round(z * len(w))) / z).astype(int)]
            for w, z in zip(crop.weights, self.zoom, strict=True)
        ]
        return np.outer(*lines)


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


def layout(height: int, width: int, side: int, margin: int) -> tuple[Crop, ...]:
    """Crops of equal size that cover a frame, row by row, there and back, each beside the last.

    They overlap by twice the `margin`, which does not count, and `BLEND` pixels.
    """
    rows, columns = _along(height, side, margin), _along(width, side, margin)
    return tuple(
        Crop(rows=row, columns=column, weights=(down, across))
        for number, (row, down) in enumerate(rows)
        for column, across in (columns if number % 2 == 0 else reversed(columns))
    )


def _along(length: int, side: int, margin: int) -> list[tuple[slice, Floats]]:
    """The pieces of one axis, with the weight of each pixel."""
    if side >= length:
        return [(slice(0, length), np.ones(length, np.float32))]
    overlap = 2 * margin + BLEND
    side -= side % STRIDE
    number = math.ceil((length - overlap) / (side - overlap))
    size = math.ceil((length + (number - 1) * overlap) / number / STRIDE) * STRIDE
    size = min(size, length)
    pieces = []
    for start in np.linspace(0, length - size, number).round().astype(int).tolist():
        pixels = np.arange(size)
        before = pixels + 0.5 if start > 0 else np.inf
        after = size - pixels - 0.5 if start + size < length else np.inf
        inside = np.clip((np.minimum(before, after) - margin) / BLEND, 0, 1)
        weights = np.sin(np.pi / 2 * inside) ** 2 * np.ones(size)
        pieces.append((slice(start, start + size), weights.astype(np.float32)))
    return pieces


def sample(frame: Observation, crops: tuple[Crop, ...]) -> Observation:
    """A smaller frame that shows the same noise: middles of its `crops`, one below the other."""
    patches = []
    for crop in crops[:: math.ceil(len(crops) / PATCHES)]:
        places = []
        for along, length in zip((crop.rows, crop.columns), frame.y.shape[-2:], strict=True):
            side = min(PATCH, length)
            start = min(max((along.start + along.stop - side) // 2, 0), length - side)
            places.append(slice(start, start + side))
        patches.append(frame.crop(*places))
    first, *others = [patch for patch in patches if not patch.is_flat] or [frame]
    return first.below(others)


def bytes_per_pixel(recipe: Recipe, planes: Planes, device: torch.device) -> float:
    """Memory that a fit takes for each pixel of the scene, about: what the network keeps, and the rest.

    The first is counted in a step of a small network of the same layers.
    """
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself, it would hold the step that made it, which holds it: for ever

    precision = recipe.compute.resolve_precision(device)
    depths = planes.depths if recipe.network.volumetric else 1
    inputs = 33 * depths + planes.number
    with torch.device("meta"):
        network = recipe.network.build(inputs, planes)
    network = network.to_empty(device="cpu").to(memory_format=recipe.network.memory_format)  # type: ignore[call-overload]
    side = 2 * recipe.network.divisor
    z = torch.zeros(1, inputs, side // recipe.network.shrink, side // recipe.network.shrink)
    half = precision != torch.float32
    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        torch.autocast("cpu", dtype=precision, enabled=half),
    ):
        network(z.to(precision).to(memory_format=torch.channels_last))
    for parameter in network.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return COPIES * sum(kept.values()) / side**2 + PER_PIXEL
