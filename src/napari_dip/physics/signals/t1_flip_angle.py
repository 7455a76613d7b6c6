"""T1 from spoiled gradient echoes at several flip angles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.physics.signals.base import Parameter, Signal, required

Degrees = Annotated[float, Field(gt=0, le=180)]


class FlipAngles(Signal):
    """Spoiled gradient echoes in the steady state: sin(a) (1 - E) / (1 - cos(a) E), E = exp(-TR / T1).

    References
    ----------
    .. [1] Fram et al., "Rapid calculation of T1 using variable flip angle gradient refocused imaging",
           Magn. Reson. Imaging 5 (1987) 201.
    """

    kind: Literal["t1-flip-angle"] = "t1-flip-angle"
    flip_angles: tuple[Degrees, ...] | None = None
    """Flip angles. [degree]"""
    repetition_time: Annotated[float, Field(gt=0, le=60)] = 0.01
    """Repetition time. [s]"""

    @property
    def parameter(self) -> Parameter:
        return Parameter("T1", "s", 0.05, 6.0)

    @property
    def contrasts(self) -> tuple[float, ...]:
        return required(self.flip_angles, "flip_angles")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        angles = torch.deg2rad(self.along_contrasts(value))
        recovered = torch.exp(-self.repetition_time / value)
        return (angles.sin() * (1 - recovered) / (1 - angles.cos() * recovered))[:, None]
