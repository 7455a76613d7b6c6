"""The interface of a network: settings that build an untrained module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.settings import Settings

if TYPE_CHECKING:
    import torch


class NetworkSettings(Settings, ABC):
    """Settings of one kind of network."""

    kind: str
    is_3d: ClassVar[bool] = False
    """Whether it convolves along Z, too."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, and at least twice it; the prior pads."""

    @property
    def input_downsampling(self) -> int:
        """Pixels of the image per pixel of the network input, along each axis."""
        return 1

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of the weights: channels last."""
        from napari_dip.core.torch_import import torch

        return torch.channels_last_3d if self.is_3d else torch.channels_last

    @abstractmethod
    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        """Return a module from (1, in_channels, H / d, W / d) to (1, layout.num_planes, H, W).

        Here d is `input_downsampling`. The output channels are the planes in the order (T, C, Z); the
        input channels of a network that `is_3d` have the order (C, Z).

        The module is not yet initialized: each parameter belongs to a convolution or a batch
        normalization, which the prior initializes from the seed of the run.
        """
