"""Diffusion: magnitude images at several b values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import Parameter, Signal, required

BValue = Annotated[float, Field(ge=0, le=1e5)]


class Diffusion(Signal):
    """Echoes that diffusion attenuates by exp(-b D), with the apparent diffusion coefficient D.

    References
    ----------
    .. [1] Stejskal, Tanner, "Spin diffusion measurements: spin echoes in the presence of a
           time-dependent field gradient", J. Chem. Phys. 42 (1965) 288.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("b_values",)
    names_in_files: ClassVar[Mapping[str, str]] = {"b_values": "bval"}
    example: ClassVar[Mapping[str, Any]] = {"b_values": (0, 500, 1500, 3000)}
    kind: Literal["adc"] = "adc"
    b_values: tuple[BValue, ...] | None = None
    """Diffusion weightings; automatic: from the file. [s/mm2]"""

    @property
    def parameter(self) -> Parameter:
        return Parameter("ADC", "mm2/s", 1e-5, 6e-3)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return required(self.b_values, "b_values")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        return torch.exp(-self.along_contrasts(value) * value)[:, None]
