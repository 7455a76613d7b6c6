"""The skip hourglass in three dimensions, for volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch

ISOTROPIC_RATIO = 1.5  # of the distance of planes to that of pixels, up to which they count as equal


class VolumeHourglass(NetworkSettings):
    """The hourglass with 3 x 3 x 3 convolutions, for volumes whose depths are restored jointly.

    Where planes are farther apart than pixels, the size along Z is halved only at the scales at which
    the pixels have become as large.

    References
    ----------
    .. [1] Çiçek et al., "3D U-Net", MICCAI 2016, section 2.
    """

    kind: Literal["volume"] = "volume"
    is_3d: ClassVar[bool] = True
    channels: Annotated[int, Field(ge=4, le=256)] = 24
    """Width of every scale. [channel]"""
    skip_channels: Annotated[int, Field(ge=0, le=256)] = 4
    """Width of each skip connection; 0 for none. [channel]"""
    depth: Annotated[int, Field(ge=1, le=6)] = 4
    """Number of times the size is halved. [scale]"""

    @property
    def size_multiple(self) -> int:
        return int(2**self.depth)

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import (
            Float32,
            FoldDepth,
            SkipConnection,
            conv3d_block,
            normalization3d,
        )

        width, thin = self.channels, self.skip_channels
        # On one plane torch's 3 x 3 x 3 in bfloat16 (x86) reads memory that is not its own.
        size = (3 if layout.depths > 1 else 1, 3, 3)
        body: torch.nn.Module = torch.nn.Identity()
        for scale in reversed(range(self.depth)):
            inputs = in_channels // layout.depths if scale == 0 else width
            stride = (self._halvings(layout, scale + 1) - self._halvings(layout, scale) + 1, 2, 2)
            deeper = torch.nn.Sequential(
                conv3d_block(inputs, width, size=size, stride=stride),
                conv3d_block(width, width, size=size),
                body,
                torch.nn.Upsample(scale_factor=stride, mode="trilinear"),
            )
            body = torch.nn.Sequential(
                SkipConnection(conv3d_block(inputs, thin, size=(1, 1, 1)) if thin else None, deeper),
                normalization3d(thin + width),
                conv3d_block(thin + width, width, size=size),
                conv3d_block(width, width, size=(1, 1, 1)),
            )
        last = Float32(torch.nn.Conv3d(width, layout.times * layout.channels, 1))
        return FoldDepth(torch.nn.Sequential(body, last), layout.depths)

    @staticmethod
    def _halvings(layout: ChannelLayout, scale: int) -> int:
        """Number of halvings along Z before this scale: never to fewer than two planes."""
        number, left = 0, layout.depths
        for pixels in range(scale):
            if layout.z_spacing * 2**number <= ISOTROPIC_RATIO * 2**pixels and left > 2:
                number, left = number + 1, -(-left // 2)
        return number
