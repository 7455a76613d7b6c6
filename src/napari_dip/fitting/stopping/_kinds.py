"""All kinds of stopping rules: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.fitting.stopping.base import StoppingSettings

if TYPE_CHECKING:
    AnyStopping = StoppingSettings
else:
    AnyStopping = tagged_union(StoppingSettings, __package__)

__all__ = ["AnyStopping"]
