"""Decoders: from a small input upwards, without an encoder; too small to fit the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    import torch


class _Decoder(NetworkSettings):
    """An input of 1 / 2^depth of the size of the image, doubled scale by scale."""

    channels: Annotated[int, Field(ge=4, le=512)] = 64
    """Width of every scale: it, rather than the stopping rule, decides how much detail can be fitted.
    [channel]"""
    depth: Annotated[int, Field(ge=2, le=7)] = 5
    """Number of times the size is doubled. [scale]"""

    @property
    def size_multiple(self) -> int:
        return int(2**self.depth)

    @property
    def input_downsampling(self) -> int:
        return int(2**self.depth)

    def _build_layers(
        self, in_channels: int, out_channels: int, kernel: int, upsampling: str
    ) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import Float32, normalization

        layers: list[torch.nn.Module] = []
        for scale in range(self.depth + 1):
            inputs = self.channels if scale else in_channels
            layers.append(torch.nn.Conv2d(inputs, self.channels, kernel, padding=kernel // 2))
            if scale < self.depth:
                layers.append(torch.nn.Upsample(scale_factor=2, mode=upsampling))
            layers += [torch.nn.ReLU(inplace=True), normalization(self.channels)]
        return torch.nn.Sequential(*layers, Float32(torch.nn.Conv2d(self.channels, out_channels, 1)))


class DeepDecoder(_Decoder):
    """Mix channels pixel by pixel and interpolate: hardly any parameters, no need for early stopping.

    References
    ----------
    .. [1] Heckel, Hand, "Deep Decoder", ICLR 2019, arXiv 1810.03982.
    """

    kind: Literal["deep-decoder"] = "deep-decoder"

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        return self._build_layers(in_channels, layout.num_planes, 1, "bilinear")


class ConvDecoder(_Decoder):
    """The deep decoder with 3 x 3 convolutions and nearest-neighbor upsampling.

    References
    ----------
    .. [1] Darestani, Heckel, "Accelerated MRI with un-trained neural networks", IEEE Trans. Comput.
           Imaging 7 (2021) 724, doi:10.1109/TCI.2021.3097596
    """

    kind: Literal["conv-decoder"] = "conv-decoder"

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        return self._build_layers(in_channels, layout.num_planes, 3, "nearest")
