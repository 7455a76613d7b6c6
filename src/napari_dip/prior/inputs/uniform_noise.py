"""Uniform noise: the code of the original method."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import InputContext, InputSettings


class UniformNoise(InputSettings):
    """Uniform noise, shaken by a little Gaussian noise at every step.

    The shaking regularises: without it the network fits the noise sooner and peaks lower. Where
    there is little noise to be kept out, it only slows the fit down.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 3 and table 1.
    """

    kind: Literal["uniform-noise"] = "uniform-noise"
    varies_with_depth: ClassVar[bool] = True
    channels: Annotated[int, Field(ge=1, le=256)] = 32
    """Number of noise images given to the network. [channel]"""
    scale: Annotated[float, Field(gt=0, le=10)] = 0.1
    """The code is drawn from 0 to this. [network input]"""

    def make(self, canvas: InputContext, generator: torch.Generator) -> torch.Tensor:
        shape = (1, self.channels * canvas.depths, *canvas.shape)
        return torch.rand(shape, generator=generator) * self.scale
