"""What every network is: settings that build an untrained module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from napari_dip.settings import Settings

if TYPE_CHECKING:
    import torch


class NetworkSettings(Settings, ABC):
    """Settings of one kind of network."""

    kind: str

    @property
    @abstractmethod
    def divisor(self) -> int:
        """Height and width must be multiples of this, and at least twice it. The prior pads."""

    @property
    def shrink(self) -> int:
        """How many pixels of the image one pixel of the code becomes, along each axis."""
        return 1

    @abstractmethod
    def build(self, code_channels: int, out_channels: int) -> torch.nn.Module:
        """A module from (1, code_channels, H / shrink, W / shrink) to (1, out_channels, H, W).

        Not yet initialised: every parameter it holds belongs to a convolution or a batch
        normalisation, which the prior initialises, from the run's own seed.
        """
