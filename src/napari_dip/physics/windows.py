"""Rectangular parts of data, in any of eight orientations."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.torch_import import torch

ORIENTATIONS = 8  # of a square: four rotations, each also mirrored


@dataclass(frozen=True)
class Windows:
    """Rectangles to cut out of planes, squares each in an orientation of its own.

    Attributes
    ----------
    places : tuple of (row, column)
        Of the top left corner of each, in pixels.
    sides : (int, int)
        Height and width. [pixel]
    orientations : tuple of int
        One of 0 to 7 for each.
    """

    places: tuple[tuple[int, int], ...]
    sides: tuple[int, int]
    orientations: tuple[int, ...]

    def cut(self, planes: torch.Tensor) -> torch.Tensor:
        """Return these parts of planes (1, C, Y, X) as (N, C, height, width).

        Planes of one pixel, which hold one value for each channel, stay as they are.
        """
        if planes.shape[-2:] == (1, 1):
            return planes
        height, width = self.sides
        return torch.stack(
            [
                orient(planes[0, :, top : top + height, left : left + width], orientation)
                for (top, left), orientation in zip(self.places, self.orientations, strict=True)
            ]
        )


def orient(x: torch.Tensor, orientation: int) -> torch.Tensor:
    """Return planes (..., Y, X) rotated by quarter turns, and mirrored for 4 and more."""
    x = torch.rot90(x, orientation % 4, (-2, -1))
    return x.flip(-1) if orientation >= 4 else x


def orient_back(x: torch.Tensor, orientation: int) -> torch.Tensor:
    """Return what `orient` turned into `x`."""
    x = x.flip(-1) if orientation >= 4 else x
    return torch.rot90(x, -(orientation % 4), (-2, -1))
