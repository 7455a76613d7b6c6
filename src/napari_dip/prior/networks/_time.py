"""Settings of networks that are given the time: a manifold with a point for each frame, and MapNet."""

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
    """Curve on which the frames lie: a straight line; a helix, whose turns are the cycles of the motion;
    or a point for each frame that is learned with the network."""
    cycles: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Turns of the helix: heart beats, for example, in the whole series. [cycle]"""
    manifold_dimensions: Annotated[int, Field(ge=1, le=256)] | None = None
    """Dimensions of a learned manifold: fewer make frames more alike; automatic: no limit."""
    mapnet_channels: Annotated[int, Field(ge=4, le=1024)] = 64
    """Width of the small network that maps the curve (MapNet). [channel]"""

    def build_mapnet(self, times: int, outputs: int) -> torch.nn.Module:
        """Return a module without input that gives `outputs` numbers for each time: (T, outputs, 1,
        1).
        """
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._temporal import MapNet

        points = torch.tensor(self.points(times), device="cpu")
        dimensions = self.manifold_dimensions if self.manifold == "learned" else None
        return MapNet(points, self.mapnet_channels, outputs, dimensions)

    def points(self, times: int) -> list[list[float]]:
        """Return where each frame lies on the manifold; unit vectors for a learned one."""
        if self.manifold == "learned":
            return [[float(other == t) for other in range(times)] for t in range(times)]
        fractions = [t / max(times - 1, 1) for t in range(times)]
        if self.manifold == "line":
            return [[2 * fraction - 1] for fraction in fractions]
        phases = [2 * math.pi * self.cycles * t / times for t in range(times)]
        return [
            [math.cos(phase), math.sin(phase), 2 * fraction - 1]
            for phase, fraction in zip(phases, fractions, strict=True)
        ]
