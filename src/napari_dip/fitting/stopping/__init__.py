"""Stopping: a statistic of the run, and when to believe it; one file for each rule."""

from napari_dip.fitting.stopping._kinds import AnyStopping
from napari_dip.fitting.stopping.base import (
    EMA_WARMUP_STEPS,
    SeparatePixels,
    StoppingMonitor,
    StoppingSettings,
    best_step,
    selectable,
)

__all__ = [
    "EMA_WARMUP_STEPS",
    "AnyStopping",
    "SeparatePixels",
    "StoppingMonitor",
    "StoppingSettings",
    "best_step",
    "selectable",
]
