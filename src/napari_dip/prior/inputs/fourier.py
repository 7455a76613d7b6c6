"""Fourier features: sines and cosines of the coordinates, from coarse to fine."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import InputContext, InputSettings
from napari_dip.prior.inputs.coordinates import coordinate_grid


class FourierFeatures(InputSettings):
    """Sines and cosines of x and of y, from one period per image to one per few pixels.

    References
    ----------
    .. [1] Shabtay, Schwartz, Giryes, "PIP: Positional-encoding Image Prior", arXiv 2211.14298.
    """

    kind: Literal["fourier"] = "fourier"
    num_frequencies: Annotated[int, Field(ge=1, le=32)] = 8
    """Number of frequencies, in geometric progression; each has four channels."""
    max_frequency: Annotated[float, Field(ge=1, le=512)] = 128.0
    """Highest frequency. [half periods / image]"""

    def make(self, context: InputContext, generator: torch.Generator) -> torch.Tensor:
        frequencies = torch.logspace(0, math.log10(self.max_frequency), self.num_frequencies)
        phase = math.pi * frequencies[:, None, None, None] * coordinate_grid(context)
        waves = torch.cat((phase.sin(), phase.cos()), dim=1)
        return 0.1 * waves.flatten(0, 1)[None]
