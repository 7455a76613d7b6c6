"""Patches of an image, and where similar ones are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from napari_dip.core.torch_import import torch

DISTANCES_PER_BATCH = 2**24  # that are in memory at the same time
SHIFTS_TOGETHER = 16
GROUPS_PER_BATCH, GROUPS_PER_CPU_BATCH = 512, 64  # the smaller ones stay in the cache


def square_shifts(radius: int, dense_radius: int | None = None) -> list[tuple[int, int]]:
    """Return the shifts of a square search window; beyond `dense_radius` every second row and column."""
    lines = range(-radius, radius + 1)
    dense = radius if dense_radius is None else dense_radius
    return [
        (down, right)
        for down in lines
        for right in lines
        if max(abs(down), abs(right)) <= dense or (down % 2 == right % 2 == 0)
    ]


def patch_offsets(shape: Sequence[int], size: int, device: torch.device) -> torch.Tensor:
    """Return the places of the pixels of a patch in a flattened image (C, H, W), relative to its
    corner.
    """
    channels, height, width = shape
    inside = torch.arange(size, device=device)
    planes = torch.arange(channels, device=device)[:, None, None] * height * width
    return (planes + inside[:, None] * width + inside).flatten()


class PatchMean:
    """The mean, in each pixel, of the estimates of all patches that contain it.

    Parameters
    ----------
    shape : (C, H, W)
        Of the image.
    size : int
        Side of the patches. [pixel]
    device : torch.device
        Where to compute.
    """

    def __init__(self, shape: Sequence[int], size: int, device: torch.device) -> None:
        self._shape = shape
        self._offsets = patch_offsets(shape, size, device)
        self._sums = torch.zeros((2, math.prod(shape)), device=device)  # of estimates, and their number

    def pixels(self, corners: torch.Tensor) -> torch.Tensor:
        """Return the places of the pixels of patches (B, K, d) in the flattened image."""
        firsts = corners[..., 0] * self._shape[-1] + corners[..., 1]
        places: torch.Tensor = firsts[..., None] + self._offsets
        return places

    def add(self, pixels: torch.Tensor, estimates: torch.Tensor) -> None:
        """Add what was made of patches, (B, K, d) float32."""
        places = pixels.flatten()
        self._sums[0].index_add_(0, places, estimates.flatten())
        self._sums[1].index_add_(0, places, torch.ones_like(self._sums[1, :1]).expand(places.numel()))

    def image(self) -> torch.Tensor:
        """Return the mean, (C, H, W)."""
        mean: torch.Tensor = self._sums[0] / self._sums[1]
        return mean.reshape(self._shape)


def find_similar(
    image: torch.Tensor, size: int, number: int, stride: int, shifts: Sequence[tuple[int, int]]
) -> Iterator[torch.Tensor]:
    """Yield the corners (row, column) of similar patches in groups, (B, number, 2), in batches.

    Parameters
    ----------
    image : (C, H, W) tensor
        In which patches are compared, by their mean squared difference.
    size : int
        Side of a patch. [pixel]
    number : int
        Of patches in a group: the nearest to its first one, which is on a grid. Fewer where the image
        does not have so many within the shifts.
    stride : int
        Spacing of that grid; it contains the last row and column. [pixel]
    shifts : sequence of (down, right)
        Where the others of a group are searched for, relative to the first.
    """
    height, width = image.shape[-2] - size + 1, image.shape[-1] - size + 1  # of the corners
    possible = [shift for shift in shifts if abs(shift[0]) < height and abs(shift[1]) < width]
    moves = torch.tensor(possible, device=image.device)
    margin = max(abs(line) for shift in possible for line in shift)
    padded = torch.nn.functional.pad(image, (margin, margin, margin, margin), value=torch.inf)
    rows, columns = (sorted({*range(0, n, stride), n - 1}) for n in (height, width))
    groups = GROUPS_PER_CPU_BATCH if image.device.type == "cpu" else GROUPS_PER_BATCH
    together = max(DISTANCES_PER_BATCH // (len(columns) * len(possible)), 1)
    for start in range(0, len(rows), together):
        batch = rows[start : start + together]
        distances = _distances(padded, image.shape[-1], size, batch, columns, possible)
        count = min(number, int(distances.isfinite().sum(dim=0).min()))
        nearest = distances.flatten(1).T.topk(count, largest=False).indices
        corners = torch.tensor(list(product(batch, columns)), device=image.device)
        yield from torch.split(corners[:, None] + moves[nearest], groups)


def _distances(
    padded: torch.Tensor,
    width: int,
    size: int,
    rows: list[int],
    columns: list[int],
    shifts: list[tuple[int, int]],
) -> torch.Tensor:
    """Mean squared differences of the patches on a grid and those shifted, (shifts, rows, columns);
    infinite where these are not in the image, of some `width` and with an infinite margin around it.
    """
    margin = (padded.shape[-1] - width) // 2
    first, height = rows[0], rows[-1] + size - rows[0]
    fixed = padded[:, margin + first :, margin:][:, :height, :width]
    from_first, across = (torch.tensor(line, device=padded.device) for line in (rows, columns))
    from_first -= first
    distances = padded.new_empty((len(shifts), len(rows), len(columns)))
    squares = padded.new_empty((SHIFTS_TOGETHER, len(padded), height, width))
    for start in range(0, len(shifts), SHIFTS_TOGETHER):
        part = shifts[start : start + SHIFTS_TOGETHER]
        for (down, right), square in zip(part, squares, strict=False):
            top, left = margin + first + down, margin + right
            torch.sub(padded[:, top : top + height, left : left + width], fixed, out=square)
        differing = squares[: len(part)].square_()
        total = differing[:, 0] if len(padded) == 1 else differing.sum(dim=1)
        strips = _sum_from(total, from_first, size, dim=1)
        distances[start : start + len(part)] = _sum_from(strips, across, size, dim=2)
    distances /= size**2
    if (0, 0) in shifts:
        distances[shifts.index((0, 0))] = -1  # the patch itself, even in a constant image
    return distances


def _sum_from(values: torch.Tensor, places: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """The sums of `size` neighbors along an axis, from each of `places` on."""
    total = values.index_select(dim, places)
    for step in range(1, size):
        total += values.index_select(dim, places + step)
    return total
