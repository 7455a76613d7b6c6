"""Bleaching, decay and recovery: images at several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from napari_dip.core.header import Header
from napari_dip.core.torch_import import torch
from napari_dip.core.units import convert
from napari_dip.physics.signals.base import Parameter, Seconds, Signal, required


class Decay(Signal):
    """An exponential on a background: exp(-t / tau). Where light recovers, the amplitude is negative.

    References
    ----------
    .. [1] Axelrod et al., "Mobility measurement by analysis of fluorescence photobleaching recovery
           kinetics", Biophys. J. 16 (1976) 1055, for recovery.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("times",)
    names_in_files: ClassVar[Mapping[str, str]] = {"times": "FrameTimesStart"}
    example: ClassVar[Mapping[str, Any]] = {"times": (0, 1, 2, 3, 4, 5)}
    kind: Literal["decay"] = "decay"
    linear: ClassVar[tuple[str, ...]] = ("amplitude", "background")
    times: tuple[Seconds, ...] | None = None
    """Times of the images; automatic: from the file. [s]"""

    def with_protocol(self, header: Header, number: int) -> Self:
        interval = convert(*header.pixel_size.get("T", (0.0, "s")), to="s")
        if self.times is None and interval and "FrameTimesStart" not in header.protocol:
            times = tuple(interval * frame for frame in range(number))
            return self.model_copy(update={"times": times})
        return super().with_protocol(header, number)

    @property
    def parameter(self) -> Parameter:
        times = self.contrasts
        span = max(times) - min(times)
        return Parameter("tau", "s", span / (10 * len(times)), 10 * span)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return required(self.times, "times")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        decay = torch.exp(-self.along_contrasts(value) / value)
        return torch.stack((decay, torch.ones_like(decay)), dim=1)
