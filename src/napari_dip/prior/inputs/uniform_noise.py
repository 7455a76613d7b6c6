"""Uniform noise: the network input of the original method."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import InputContext, InputSettings


class UniformNoise(InputSettings):
    """Uniform noise, to which a little Gaussian noise is added at each step.

    The added noise regularizes: without it the network fits the noise of the data sooner, and its best
    image is worse. Where the data have little noise, it only slows the fit down.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, section 3 and table 1.
    """

    kind: Literal["uniform-noise"] = "uniform-noise"
    varies_with_depth: ClassVar[bool] = True
    channels: Annotated[int, Field(ge=1, le=256)] = 32
    """Number of noise images that the network is given. [channel]"""
    scale: Annotated[float, Field(gt=0, le=10)] = 0.1
    """The noise is drawn between 0 and this. [network input]"""

    def make(self, context: InputContext, generator: torch.Generator) -> torch.Tensor:
        shape = (1, self.channels * context.depths, *context.shape)
        return torch.rand(shape, generator=generator) * self.scale
