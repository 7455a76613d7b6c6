"""The skip hourglass: an encoder and a decoder joined by thin skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch


class Hourglass(NetworkSettings):
    """The encoder-decoder of the original method, narrower: a fifteenth of its arithmetic.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867, fig. 21,
           doi:10.1007/s11263-020-01303-4. Differs: 32 channels for 128, nearest for bilinear
           upsampling, zero for reflection padding, no sigmoid at the end.
    """

    kind: Literal["hourglass"] = "hourglass"
    channels: Annotated[int, Field(ge=4, le=256)] = 32
    """Width of every scale. [channel]"""
    skip_channels: Annotated[int, Field(ge=0, le=256)] = 4
    """Width of each skip connection; 0 for none. [channel]"""
    depth: Annotated[int, Field(ge=1, le=7)] = 5
    """How many times the size is halved. [scale]"""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    """How the decoder doubles the size: nearest is faster, bilinear smoother."""

    @property
    def divisor(self) -> int:
        return int(2**self.depth)

    def build(self, code_channels: int, out_channels: int) -> torch.nn.Module:
        from napari_dip.networks._layers import Float32, Skip, convolution, normalisation
        from napari_dip.torch_import import torch

        body: torch.nn.Module | None = None
        for scale in reversed(range(self.depth)):
            inputs = code_channels if scale == 0 else self.channels
            down = [convolution(inputs, self.channels, stride=2)]
            down.append(convolution(self.channels, self.channels))
            skip = convolution(inputs, self.skip_channels, size=1) if self.skip_channels else None
            deeper = torch.nn.Sequential(
                *down,
                *([body] if body is not None else []),
                torch.nn.Upsample(scale_factor=2, mode=self.upsampling),
            )
            joined = self.skip_channels + self.channels
            body = torch.nn.Sequential(
                Skip(skip, deeper),
                normalisation(joined),
                convolution(joined, self.channels),
                convolution(self.channels, self.channels, size=1),
            )
        assert body is not None  # depth is at least 1
        return torch.nn.Sequential(body, Float32(torch.nn.Conv2d(self.channels, out_channels, 1)))
