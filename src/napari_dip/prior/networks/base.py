"""What every network is: settings that build an untrained module."""

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
    """Whether planes that lie above each other are neighbours to it, as pixels are."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, and at least twice it. The prior pads."""

    @property
    def input_downsampling(self) -> int:
        """How many pixels of the image one pixel of the code becomes, along each axis."""
        return 1

    @property
    def memory_format(self) -> torch.memory_format:
        """How the weights of the convolutions lie in memory: channels last."""
        from napari_dip.core.torch_import import torch

        return torch.channels_last_3d if self.is_3d else torch.channels_last

    @abstractmethod
    def build(self, code_channels: int, planes: ChannelLayout) -> torch.nn.Module:
        """A module from (1, code_channels, H / shrink, W / shrink) to (1, planes.number, H, W).

        The channels are the `planes` in the order (T, C, Z); a network that is `volumetric` is given
        code channels in the order (C, Z).

        Not yet initialised: every parameter it holds belongs to a convolution or a batch
        normalisation, which the prior initialises, from the run's own seed.
        """
