"""What every code is: an image of some channels, the same at every step but for a little noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

INPUT_NOISE_SHARE = 0.05  # of the noise; the reference has 1/30 at sigma 25 and 1/20 at 50, of 255


@dataclass(frozen=True)
class InputContext:
    """What a code is drawn on.

    Attributes
    ----------
    shape : (Y, X)
        Of the code.
    window : pair of slices
        The part of the network's output that shows the frame.
    shrink : int
        How many pixels of the output one pixel of the code becomes, along each axis.
    depths : int
        Planes that lie above each other, where the network knows of them; else 1.
    frame : Observation
        What is restored, (T, C, 1, Y, X), with its companions.
    noise_level : float
        Standard deviation of the data's noise in the network's output.
    """

    shape: tuple[int, int]
    window: tuple[slice, slice]
    downsampling: int
    depths: int
    data: Observation
    noise_level: float


class InputSettings(Settings, ABC):
    """Settings of one kind of code."""

    kind: str
    auxiliary: ClassVar[tuple[str, ...]] = ()
    """Names of the companions that the code takes from the observation."""
    varies_with_depth: ClassVar[bool] = False
    """Whether the code differs from depth to depth."""

    noise_std: Annotated[float, Field(ge=0, le=10)] | None = None
    """Standard deviation of the noise added to it at every step; automatic: a twentieth of the
    data's noise. [network input]"""

    @property
    def supports_tiling(self) -> bool:
        """Whether a frame can be restored crop by crop."""
        return True

    @abstractmethod
    def make(self, canvas: InputContext, generator: torch.Generator) -> torch.Tensor:
        """The code itself, (1, channels, Y, X) float32; of standard deviation 0.1 or less.

        Or (1, channels * depths, Y, X), in this order, where it differs from depth to depth.

        Raises
        ------
        ObservationError
            If the frame lacks what the code needs, or it does not fit.
        """

    def build(self, canvas: InputContext, generator: torch.Generator) -> NetworkInput:
        """The code for `canvas`, drawn from `generator`."""
        z = self.make(canvas, generator)
        if not self.varies_with_depth:
            z = z.repeat_interleave(canvas.depths, dim=1)
        automatic = INPUT_NOISE_SHARE * canvas.noise_level
        shaking = automatic if self.noise_std is None else self.noise_std
        return NetworkInput(z, shaking, generator)


class NetworkInput:
    """z + perturbation * n, step by step, with n cut from a pool at a random offset.

    Drawing millions of fresh normal numbers would take longer than some layers of the network, so
    they are drawn once; a new offset among half a million is as good as independent here.
    """

    def __init__(self, z: torch.Tensor, noise_std: float, generator: torch.Generator) -> None:
        self._z = z.contiguous(memory_format=torch.channels_last)
        self._generator = generator
        self._spare = 2**19 if noise_std else 0
        self._pool = torch.randn(z.numel() + self._spare, generator=generator) * noise_std
        self._perturbed = self._z.clone()

    @property
    def shape(self) -> torch.Size:
        """(1, channels, Y, X)."""
        return self._z.shape

    def write_next(self, place: torch.Tensor) -> None:
        """Write z for the next step into `place`, of its shape and of any floating dtype."""
        if self._spare:
            offset = int(torch.randint(self._spare, (), generator=self._generator))
            noise = self._pool.as_strided(self._z.shape, self._z.stride(), offset)
            torch.add(self._z, noise, out=self._perturbed)
        place.copy_(self._perturbed)

    def to(self, device: torch.device) -> NetworkInput:
        """The same code on `device`."""
        self._z = self._z.to(device)
        self._pool = self._pool.to(device)
        self._perturbed = self._perturbed.to(device)
        return self
