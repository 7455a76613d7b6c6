"""T1 from spoiled gradient echoes at several flip angles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from napari_dip.core.errors import SettingsError
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

    basic_fields: ClassVar[tuple[str, ...]] = ("flip_angles", "repetition_time")
    names_in_files: ClassVar[Mapping[str, str]] = {
        "flip_angles": "FlipAngle",
        "repetition_time": "RepetitionTimeExcitation",
    }
    example: ClassVar[Mapping[str, Any]] = {"flip_angles": (2, 5, 10, 15, 20), "repetition_time": 0.02}
    kind: Literal["t1-flip-angle"] = "t1-flip-angle"
    flip_angles: tuple[Degrees, ...] | None = None
    """Flip angles; automatic: from the file. [degree]"""
    repetition_time: Annotated[float, Field(gt=0, le=60)] | None = None
    """Repetition time; automatic: from the file. [s]"""

    @property
    def parameter(self) -> Parameter:
        return Parameter("T1", "s", 0.05, 6.0)

    @property
    def contrasts(self) -> tuple[float, ...]:
        if self.repetition_time is None:
            raise SettingsError(
                "signal.repetition_time is specified neither in the settings nor in the file",
                setting="signal.repetition_time",
            )
        return required(self.flip_angles, "flip_angles")

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        angles = torch.deg2rad(self.along_contrasts(value))
        assert self.repetition_time is not None  # checked by `contrasts`
        recovered = torch.exp(-self.repetition_time / value)
        return (angles.sin() * (1 - recovered) / (1 - angles.cos() * recovered))[:, None]
