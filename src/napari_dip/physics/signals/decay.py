"""Bleaching, decay and recovery: images at several times."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import Parameter, Seconds, Signal, along_contrasts


class Decay(Signal):
    """An exponential on a background: exp(-t / tau). Where light recovers, the amplitude is negative.

    References
    ----------
    .. [1] Axelrod et al., "Mobility measurement by analysis of fluorescence photobleaching recovery
           kinetics", Biophys. J. 16 (1976) 1055, for recovery.
    """

    kind: Literal["decay"] = "decay"
    linear: ClassVar[tuple[str, ...]] = ("amplitude", "background")
    times: Annotated[tuple[Seconds, ...], Field(min_length=4)]
    """Times of the images. [s]"""

    @property
    def parameter(self) -> Parameter:
        span = max(self.times) - min(self.times)
        return Parameter("tau", "s", span / (10 * len(self.times)), 10 * span)

    @property
    def num_contrasts(self) -> int:
        return len(self.times)

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        decay = torch.exp(-along_contrasts(self.times, value) / value)
        return torch.stack((decay, torch.ones_like(decay)), dim=1)
