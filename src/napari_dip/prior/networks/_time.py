"""Time as networks know it: a curve with a point for each frame, and what is learnt to lie there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch


class TemporalNetwork(NetworkSettings):
    """Settings of a network that is given the time."""

    manifold: Literal["line", "helix", "learned"] = "learned"
    """The curve on which the frames lie: a straight line; a helix, whose turns are the cycles of what
    moves; or a point for each frame that is learnt with the network."""
    cycles: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Turns of the helix: heart beats, say, in the whole series. [cycle]"""
    mapnet_channels: Annotated[int, Field(ge=4, le=1024)] = 64
    """Width of the small network that maps the curve (MapNet). [channel]"""

    def mapped_times(self, times: int, outputs: int) -> torch.nn.Module:
        """A module without input that gives `outputs` numbers for each time: (T, outputs, 1, 1)."""
        from napari_dip.core.torch_import import torch

        width = self.mapnet_channels
        points = torch.tensor(self.points(times), device="cpu")[:, :, None, None]

        class MapNet(torch.nn.Module):
            """The manifold, mapped by a small fully connected network."""

            def __init__(self) -> None:
                super().__init__()
                self.layers = torch.nn.Sequential(
                    torch.nn.Conv2d(points.shape[1], width, 1),
                    torch.nn.LeakyReLU(0.2),
                    torch.nn.Conv2d(width, width, 1),
                    torch.nn.LeakyReLU(0.2),
                    torch.nn.Conv2d(width, outputs, 1),
                )

            def forward(self) -> torch.Tensor:
                here = next(self.parameters()).device
                with torch.autocast(here.type, enabled=False):
                    mapped: torch.Tensor = self.layers(points.to(here))
                return mapped

        return MapNet()

    def points(self, times: int) -> list[list[float]]:
        """Where each frame lies on the manifold; of those that are learnt the unit vectors."""
        if self.manifold == "learned":
            return [[float(one == t) for one in range(times)] for t in range(times)]
        along = [t / max(times - 1, 1) for t in range(times)]
        if self.manifold == "line":
            return [[2 * a - 1] for a in along]
        turns = [2 * math.pi * self.cycles * t / times for t in range(times)]
        return [[math.cos(p), math.sin(p), 2 * a - 1] for p, a in zip(turns, along, strict=True)]
