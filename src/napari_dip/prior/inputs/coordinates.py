"""Coordinates: two ramps, the smoothest thing a network can be given."""

from __future__ import annotations

from typing import Literal

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import InputContext, InputSettings


class Coordinates(InputSettings):
    """The pixel's own x and y, from 0 to 1: large holes close smoothly.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 3 ("meshgrid").
    """

    kind: Literal["coordinates"] = "coordinates"

    def make(self, canvas: InputContext, generator: torch.Generator) -> torch.Tensor:
        return coordinate_grid(canvas)[None]


def coordinate_grid(canvas: InputContext) -> torch.Tensor:
    """Y and x of each pixel of `canvas`, (2, Y, X), from 0 to 1."""
    height, width = canvas.shape
    y, x = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))
