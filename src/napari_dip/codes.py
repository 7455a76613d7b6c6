"""Codes z: what the network is given, a fixed input that is shaken a little at every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.settings import Settings, tagged_union
from napari_dip.torch_import import torch

PERTURBATION = 0.05  # of the noise; the reference has 1/30 at sigma 25 and 1/20 at 50, of 255


class CodeSettings(Settings, ABC):
    """Settings of one kind of code."""

    kind: str
    channels: int

    @abstractmethod
    def build(self, shape: tuple[int, int], noise_level: float, generator: torch.Generator) -> Code:
        """The code for images of `shape` (Y, X), drawn from `generator`.

        `noise_level` is the standard deviation of the data's noise in the network's output.
        """


class Code(ABC):
    """The network's input, step by step."""

    @abstractmethod
    def __call__(self) -> torch.Tensor:
        """Z for the next step, (1, channels, Y, X) float32."""

    @abstractmethod
    def to(self, device: torch.device) -> Code:
        """The same code on `device`."""


class UniformNoise(CodeSettings):
    """Uniform noise, shaken by a little Gaussian noise at every step.

    The shaking regularises: without it the network fits the noise sooner and peaks lower. Where
    there is little noise to be kept out, it only slows the fit down.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 3 and table 1.
    """

    kind: Literal["noise"] = "noise"
    channels: Annotated[int, Field(ge=1, le=256)] = 32
    """Number of noise images given to the network. [channel]"""
    amplitude: Annotated[float, Field(gt=0, le=10)] = 0.1
    """The code is drawn from 0 to this. [network input]"""
    perturbation: Annotated[float, Field(ge=0, le=10)] | None = None
    """Standard deviation of the noise added to it at every step; automatic: a twentieth of the
    data's noise. [network input]"""

    def build(self, shape: tuple[int, int], noise_level: float, generator: torch.Generator) -> Code:
        z = torch.rand((1, self.channels, *shape), generator=generator) * self.amplitude
        automatic = PERTURBATION * noise_level
        shaking = automatic if self.perturbation is None else self.perturbation
        return _ShakenCode(z, shaking, generator)


class _ShakenCode(Code):
    """z + perturbation * n, with n cut from a pool at a random offset.

    Drawing millions of fresh normal numbers would take longer than some layers of the network, so
    they are drawn once; a new offset among half a million is as good as independent here.
    """

    def __init__(self, z: torch.Tensor, perturbation: float, generator: torch.Generator) -> None:
        self._z = z.contiguous(memory_format=torch.channels_last)
        self._generator = generator
        self._spare = 2**19 if perturbation else 0
        self._pool = torch.randn(z.numel() + self._spare, generator=generator) * perturbation

    def __call__(self) -> torch.Tensor:
        if not self._spare:
            return self._z
        offset = int(torch.randint(self._spare, (), generator=self._generator))
        return self._z + self._pool.as_strided(self._z.shape, self._z.stride(), offset)

    def to(self, device: torch.device) -> Code:
        self._z = self._z.to(device)
        self._pool = self._pool.to(device)
        return self


if TYPE_CHECKING:
    AnyCode = CodeSettings
else:
    AnyCode = tagged_union(CodeSettings)
