"""Coordinates: two ramps, the smoothest network input."""

from __future__ import annotations

from typing import Literal

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import InputContext, InputSettings


class Coordinates(InputSettings):
    """The x and y of each pixel, from 0 to 1: large masked regions are filled smoothly.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 3 ("meshgrid").
    """

    kind: Literal["coordinates"] = "coordinates"

    def make(self, context: InputContext, generator: torch.Generator) -> torch.Tensor:
        return coordinate_grid(context)[None]


def coordinate_grid(context: InputContext) -> torch.Tensor:
    """Return y and x of each pixel of the network input, (2, Y, X), from 0 to 1."""
    height, width = context.shape
    y, x = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))
