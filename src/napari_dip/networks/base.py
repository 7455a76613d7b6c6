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

    @abstractmethod
    def build(self, code_channels: int, out_channels: int) -> torch.nn.Module:
        """A module from (1, code_channels, H, W) to (1, out_channels, H, W), not yet initialised.

        Every parameter it holds belongs to a convolution or a batch normalisation: the prior
        initialises those, from the run's own seed.
        """
