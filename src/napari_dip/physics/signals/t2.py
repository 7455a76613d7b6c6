"""T2 or T2*: magnitude images at several echo times."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import (
    MIN_CONTRASTS,
    Parameter,
    Seconds,
    Signal,
    along_contrasts,
)


class EchoDecay(Signal):
    """Echoes that decay by exp(-TE / T2): T2 of spin echoes, T2* of gradient echoes.

    References
    ----------
    .. [1] Hahn, "Spin echoes", Phys. Rev. 80 (1950) 580.
    """

    kind: Literal["t2"] = "t2"
    echo_times: Annotated[tuple[Seconds, ...], Field(min_length=MIN_CONTRASTS)]
    """Echo times. [s]"""

    @property
    def parameter(self) -> Parameter:
        return Parameter("T2", "s", 0.005, 3.0)

    @property
    def num_contrasts(self) -> int:
        return len(self.echo_times)

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        return torch.exp(-along_contrasts(self.echo_times, value) / value)[:, None]
