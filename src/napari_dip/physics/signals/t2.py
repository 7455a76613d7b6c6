"""T2 or T2*: magnitude images at several echo times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import (
    EchoSeconds,
    Parameter,
    Signal,
    required,
)


class EchoDecay(Signal):
    """Echoes that decay by exp(-TE / T2): T2 of spin echoes, T2* of gradient echoes.

    References
    ----------
    .. [1] Hahn, "Spin echoes", Phys. Rev. 80 (1950) 580.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("echo_times",)
    names_in_files: ClassVar[Mapping[str, str]] = {"echo_times": "EchoTime"}
    example: ClassVar[Mapping[str, Any]] = {"echo_times": (0.02, 0.05, 0.1, 0.2)}
    kind: Literal["t2"] = "t2"
    echo_times: tuple[EchoSeconds, ...] | None = None
    """Echo times; automatic: from the file. [s]"""

    @property
    def parameter(self) -> Parameter:
        return Parameter("T2", "s", 0.005, 3.0)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return required(self.echo_times, "echo_times")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        return torch.exp(-self.along_contrasts(value) / value)[:, None]
