"""Deforming: each frame is a mixture of a few images, which is then deformed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks._time import TemporalNetwork
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class Deforming(TemporalNetwork, Hourglass):
    """Frames x_t = D_t sum_r v_r(t) u_r: mixtures as of *low-rank*, each deformed by D_t.

    It suits two motions at once, such as the beat of a heart in a chest that breathes: without
    deformation, an image would be needed for each pair of their phases. One small network (MapNet) gives
    the mixture at each time and the displacements of control points, between which they are
    interpolated: frames of the same mixture have the same deformation.

    References
    ----------
    .. [1] Vornehm et al., "Motion-guided deep image prior for cardiac MRI", Magn. Reson. Med. (2025),
           arXiv:2412.04639 (M-DIP). Differs: displacements of control points instead of a convolutional
           decoder, no penalties, cubic interpolation instead of linear, real mixtures.
    """

    kind: Literal["deforming"] = "deforming"  # type: ignore[assignment]
    manifold_dimensions: Annotated[int, Field(ge=1, le=256)] | None = 8
    """Dimensions of a learned manifold: fewer make frames more alike; automatic: no limit."""
    rank: Annotated[int, Field(ge=1, le=256)] = 12
    """Number of images that are mixed. [image]"""
    control_points: Annotated[int, Field(ge=2, le=64)] = 8
    """Number of control points along each axis: more follow finer deformations. [point]"""

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.prior.networks._temporal import DeformingNet

        images = super().build(in_channels, ChannelLayout(self.rank, layout.channels, layout.depths))
        motion = self.build_mapnet(layout.times, self.rank + 2 * self.control_points**2)
        return DeformingNet(images, motion, self.rank, self.control_points)
