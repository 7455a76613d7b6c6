"""The U-Net, without its skip connections by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch


class UNet(NetworkSettings):
    """A U-Net: two convolutions per scale, twice as wide after every halving.

    Its skip connections carry all features past the deeper scales, so that noise and the borders of
    masked regions are fitted at once; the original study found it to inpaint better without them.

    References
    ----------
    .. [1] Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, doi:10.1007/978-3-319-24574-4_28
    .. [2] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 4.3 and fig. 10.
    """

    kind: Literal["unet"] = "unet"
    channels: Annotated[int, Field(ge=4, le=128)] = 16
    """Width at full size, doubled at every scale. [channel]"""
    depth: Annotated[int, Field(ge=1, le=6)] = 4
    """Number of times the size is halved. [scale]"""
    use_skip_connections: bool = False
    """Carry the features of each scale past the deeper ones."""

    @property
    def size_multiple(self) -> int:
        return int(2**self.depth)

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import Float32, SkipConnection, conv_block

        widths = [self.channels * 2**scale for scale in range(self.depth + 1)]
        body: torch.nn.Module = self._pair(widths[-2], widths[-1])
        for scale in reversed(range(self.depth)):
            inputs = in_channels if scale == 0 else widths[scale - 1]
            deeper = torch.nn.Sequential(
                torch.nn.MaxPool2d(2),
                body,
                torch.nn.Upsample(scale_factor=2, mode="bilinear"),
                conv_block(widths[scale + 1], widths[scale]),
            )
            body = torch.nn.Sequential(
                self._pair(inputs, widths[scale]),
                SkipConnection(torch.nn.Identity() if self.use_skip_connections else None, deeper),
                self._pair(widths[scale] * (1 + self.use_skip_connections), widths[scale]),
            )
        return torch.nn.Sequential(body, Float32(torch.nn.Conv2d(widths[0], layout.num_planes, 1)))

    @staticmethod
    def _pair(inputs: int, outputs: int) -> torch.nn.Sequential:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import conv_block

        return torch.nn.Sequential(conv_block(inputs, outputs), conv_block(outputs, outputs))
