"""Patches of an image, and where similar ones are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import product

from napari_dip.core.torch_import import torch

DISTANCES_PER_BATCH = 2**24  # that are in memory at the same time
GROUPS_PER_BATCH = 512


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
    rows, columns = (sorted({*range(0, n, stride), n - 1}) for n in (height, width))
    together = max(DISTANCES_PER_BATCH // (len(columns) * len(possible)), 1)
    for start in range(0, len(rows), together):
        batch = rows[start : start + together]
        distances = _distances(image, size, batch, columns, possible)
        count = min(number, int(distances.isfinite().sum(dim=0).min()))
        nearest = distances.flatten(1).T.topk(count, largest=False).indices
        corners = torch.tensor(list(product(batch, columns)), device=image.device)
        yield from torch.split(corners[:, None] + moves[nearest], GROUPS_PER_BATCH)


def _distances(
    image: torch.Tensor,
    size: int,
    rows: list[int],
    columns: list[int],
    shifts: list[tuple[int, int]],
) -> torch.Tensor:
    """Mean squared differences of the patches on a grid and those shifted, (shifts, rows, columns);
    infinite where these are not in the image.
    """
    first, last = rows[0], rows[-1]
    places = [torch.tensor(line, device=image.device) for line in (rows, columns)]
    height, width = image.shape[-2] - size + 1, image.shape[-1] - size + 1
    distances = torch.full(
        (len(shifts), len(rows), len(columns)), torch.inf, dtype=image.dtype, device=image.device
    )
    for number, (down, right) in enumerate(shifts):
        top, bottom = max(first, -down), min(last, height - 1 - down) + 1
        left, end = max(0, -right), width - max(0, right)
        if top >= bottom:
            continue
        lines, across = slice(top, bottom + size - 1), slice(left, end + size - 1)
        moved = (
            slice(lines.start + down, lines.stop + down),
            slice(across.start + right, across.stop + right),
        )
        squares = (image[:, *moved] - image[:, lines, across]).square().sum(dim=0)
        inside = _between(rows, top, bottom), _between(columns, left, end)
        strips = _sum_from(squares, places[0][inside[0]] - top, size, dim=0)
        sums = _sum_from(strips, places[1][inside[1]] - left, size, dim=1)
        distances[number][inside] = sums / size**2
    if (0, 0) in shifts:
        distances[shifts.index((0, 0))] = -1  # the patch itself, even in a constant image
    return distances


def _between(places: list[int], first: int, end: int) -> slice:
    """Which of some rising `places` are at least `first`, and before `end`."""
    return slice(bisect_left(places, first), bisect_left(places, end))


def _sum_from(values: torch.Tensor, places: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """The sums of `size` neighbors along an axis, from each of `places` on."""
    total = values.index_select(dim, places)
    for step in range(1, size):
        total += values.index_select(dim, places + step)
    return total
