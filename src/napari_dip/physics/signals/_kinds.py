"""All signal equations: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.physics.signals.base import Signal

if TYPE_CHECKING:
    AnySignal = Signal
else:
    AnySignal = tagged_union(Signal, __package__)

__all__ = ["AnySignal"]
