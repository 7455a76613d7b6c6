"""Fourier features: sines and cosines of the coordinates, from coarse to fine."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.prior.inputs.base import Canvas, CodeSettings
from napari_dip.prior.inputs.coordinates import ramps


class FourierFeatures(CodeSettings):
    """Sines and cosines of x and of y at frequencies from one period per image to one per few pixels.

    References
    ----------
    .. [1] Shabtay, Schwartz, Giryes, "PIP: Positional-encoding Image Prior", arXiv 2211.14298.
    """

    kind: Literal["fourier"] = "fourier"
    frequencies: Annotated[int, Field(ge=1, le=32)] = 8
    """How many frequencies, spaced in proportion; four channels each."""
    finest: Annotated[float, Field(ge=1, le=512)] = 128.0
    """The highest of them. [half periods / image]"""

    def image(self, canvas: Canvas, generator: torch.Generator) -> torch.Tensor:
        ladder = torch.logspace(0, math.log10(self.finest), self.frequencies)
        phase = math.pi * ladder[:, None, None, None] * ramps(canvas)
        waves = torch.cat((phase.sin(), phase.cos()), dim=1)
        return 0.1 * waves.flatten(0, 1)[None]
