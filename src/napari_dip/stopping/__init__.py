"""Stopping: a statistic of the run, and when to believe it; one file for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.settings import tagged_union
from napari_dip.stopping.base import SETTLED, Apart, StoppingSettings, Watch, step_of_least

if TYPE_CHECKING:
    AnyStopping = StoppingSettings
else:
    AnyStopping = tagged_union(StoppingSettings, __name__)

__all__ = ["SETTLED", "AnyStopping", "Apart", "StoppingSettings", "Watch", "step_of_least"]
