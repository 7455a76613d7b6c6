"""T1 from magnitude images at several times after an inversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import (
    InversionSeconds,
    Parameter,
    Signal,
    required,
)


class InversionRecovery(Signal):
    """Magnitudes of a magnetization that recovers: |1 - 2 e exp(-TI / T1)|.

    The repetition time has to be several T1 long.

    References
    ----------
    .. [1] Barral et al., "A robust methodology for in vivo T1 mapping", Magn. Reson. Med. 64 (2010)
           1057.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("inversion_times",)
    names_in_files: ClassVar[Mapping[str, str]] = {"inversion_times": "InversionTime"}
    example: ClassVar[Mapping[str, Any]] = {"inversion_times": (0.05, 0.2, 0.5, 1.0, 3.0)}
    kind: Literal["t1-inversion"] = "t1-inversion"
    inversion_times: tuple[InversionSeconds, ...] | None = None
    """Times after the inversion; automatic: from the file. [s]"""
    efficiency: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """How much of the magnetization the pulse inverts: 1 is all of it."""

    @property
    def parameter(self) -> Parameter:
        return Parameter("T1", "s", 0.05, 6.0)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return required(self.inversion_times, "inversion_times")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        times = self.along_contrasts(value)
        return (1 - 2 * self.efficiency * torch.exp(-times / value)).abs()[:, None]
