"""No signal equation: the network makes the images themselves."""

from __future__ import annotations

from typing import Literal, Self

from napari_dip.core.header import Header
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import Parameter, Signal


class NoSignal(Signal):
    """Images that no equation joins."""

    kind: Literal["none"] = "none"

    def with_protocol(self, header: Header, number: int) -> Self:
        return self

    @property
    def parameter(self) -> Parameter:
        return Parameter("", "", 1.0, 1.0)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return ()

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(value)[None, None]
