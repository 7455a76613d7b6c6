"""The interface of a network input: an image of some channels, fixed but for a little noise at each
step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from napari_dip.core.fit_data import FitData
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

INPUT_NOISE_SHARE = 0.05  # of the noise; the reference has 1/30 at sigma 25 and 1/20 at 50, of 255
SPARE_NUMBERS = 2**19  # random numbers more than an input needs, from which the noise of a step is cut


@dataclass(frozen=True)
class InputContext:
    """What a network input is made for.

    Attributes
    ----------
    shape : (Y, X)
        Of the network input.
    window : pair of slices
        The part of the network's output that shows the image.
    downsampling : int
        Pixels of the output per pixel of the input, along each axis.
    depths : int
        Number of depths, if the network convolves along Z; else 1.
    data : FitData
        What is restored, with its auxiliary data.
    noise_level : float
        Standard deviation of the noise, in the units of the network's output.
    """

    shape: tuple[int, int]
    window: tuple[slice, slice]
    downsampling: int
    depths: int
    data: FitData
    noise_level: float


class InputSettings(Settings, ABC):
    """Settings of one kind of network input."""

    kind: str
    auxiliary: ClassVar[tuple[str, ...]] = ()
    """Names of the auxiliary data that it takes from the observation."""
    varies_with_depth: ClassVar[bool] = False
    """Whether it differs from depth to depth."""

    noise_std: Annotated[float, Field(ge=0, le=10)] | None = None
    """Standard deviation of the noise that is added to the network input at each step; automatic: a
    twentieth of the noise of the data. [network input]"""

    @property
    def supports_tiling(self) -> bool:
        """Whether an image can be restored in tiles."""
        return True

    @abstractmethod
    def make(self, context: InputContext, generator: torch.Generator) -> torch.Tensor:
        """Return the fixed input, (1, channels, Y, X) float32, with a standard deviation of at most 0.1.

        It is (1, channels * depths, Y, X), in this order, if it `varies_with_depth`.

        Raises
        ------
        ObservationError
            If the data lack what it needs, or that does not match.
        """

    def build(self, context: InputContext, generator: torch.Generator) -> NetworkInput:
        """Return the network input for `context`, drawn from `generator`."""
        z = self.make(context, generator)
        if not self.varies_with_depth:
            z = z.repeat_interleave(context.depths, dim=1)
        automatic = INPUT_NOISE_SHARE * context.noise_level
        return NetworkInput(z, automatic if self.noise_std is None else self.noise_std, generator)


class NetworkInput:
    """The input z + noise_std * n of each step, with n cut from a pool at a random offset.

    Drawing millions of new normal numbers at each step would take longer than some layers of the
    network. They are drawn once; a random offset among half a million is as good as independent here.
    """

    def __init__(self, z: torch.Tensor, noise_std: float, generator: torch.Generator) -> None:
        self._z = z.contiguous(memory_format=torch.channels_last)
        self.generator = generator
        self._spare = SPARE_NUMBERS if noise_std else 0
        self._pool = torch.randn(z.numel() + self._spare, generator=generator) * noise_std
        self._noisy = self._z.clone()

    @property
    def shape(self) -> torch.Size:
        """(1, channels, Y, X)."""
        return self._z.shape

    def write_next(self, out: torch.Tensor) -> None:
        """Write the input of the next step to `out`, of the same shape and any floating dtype."""
        if self._spare:
            offset = int(torch.randint(self._spare, (), generator=self.generator))
            noise = self._pool.as_strided(self._z.shape, self._z.stride(), offset)
            torch.add(self._z, noise, out=self._noisy)
        out.copy_(self._noisy)

    def to(self, device: torch.device) -> NetworkInput:
        """Move the input to `device`, and return it."""
        self._z = self._z.to(device)
        self._pool = self._pool.to(device)
        self._noisy = self._noisy.to(device)
        return self
