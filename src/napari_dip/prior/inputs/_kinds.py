"""All kinds of network inputs: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.prior.inputs.base import InputSettings

if TYPE_CHECKING:
    AnyInput = InputSettings
else:
    AnyInput = tagged_union(InputSettings, __package__)

__all__ = ["AnyInput"]
