"""The skip hourglass: an encoder and a decoder joined by thin skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch


class Hourglass(NetworkSettings):
    """The encoder-decoder of the original method, narrower: a fifteenth of its arithmetic.

    With 128 channels it is the original one, except for padding and last layer. Skip connections decide
    how soon fine detail is fitted: wide ones suit small masked regions, none suit large ones.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867, fig. 21,
           doi:10.1007/s11263-020-01303-4. Differs: 32 channels instead of 128, zero
           padding instead of reflection, no sigmoid at the end.
    """

    kind: Literal["hourglass"] = "hourglass"
    channels: Annotated[int, Field(ge=4, le=256)] = 32
    """Width of every scale, or of the deepest ones. [channel]"""
    base_channels: Annotated[int, Field(ge=4, le=256)] | None = None
    """Width at full size, doubled at every scale until `channels` is reached; automatic: `channels`
    everywhere. [channel]"""
    skip_channels: Annotated[int, Field(ge=0, le=256)] = 4
    """Width of each skip connection; 0 for none. [channel]"""
    depth: Annotated[int, Field(ge=1, le=7)] = 5
    """Number of times the size is halved. [scale]"""
    num_skip_scales: Annotated[int, Field(ge=1, le=7)] | None = None
    """Number of the deepest scales that have skip connections; automatic: all. [scale]"""
    downsampling: Literal["strided", "average"] = "strided"
    """How the encoder halves the size: a convolution of stride 2 is faster, averaging smoother."""
    upsampling: Literal["nearest", "bilinear"] = "bilinear"
    """How the decoder doubles the size: nearest is faster, bilinear smoother."""

    @property
    def size_multiple(self) -> int:
        return int(2**self.depth)

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import (
            Float32,
            SkipConnection,
            conv_block,
            downsample,
            normalization,
        )

        first = self.base_channels or self.channels
        widths = [min(first * 2**scale, self.channels) for scale in range(self.depth)]
        body: torch.nn.Module | None = None
        for scale in reversed(range(self.depth)):
            width = widths[scale]
            inputs = in_channels if scale == 0 else widths[scale - 1]
            below = width if body is None else widths[scale + 1]
            skipping = scale >= self.depth - (self.num_skip_scales or self.depth)
            thin = self.skip_channels if skipping else 0
            deeper = torch.nn.Sequential(
                downsample(inputs, width, self.downsampling),
                conv_block(width, width),
                *([body] if body is not None else []),
                torch.nn.Upsample(scale_factor=2, mode=self.upsampling),
            )
            body = torch.nn.Sequential(
                SkipConnection(conv_block(inputs, thin, size=1) if thin else None, deeper),
                normalization(thin + below),
                conv_block(thin + below, width),
                conv_block(width, width, size=1),
            )
        assert body is not None  # depth is at least 1
        return torch.nn.Sequential(body, Float32(torch.nn.Conv2d(widths[0], layout.num_planes, 1)))
