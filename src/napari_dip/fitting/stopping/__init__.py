"""Stopping: a statistic of the run, and when to believe it; one file for each rule."""

from napari_dip.fitting.stopping._union import AnyStopping
from napari_dip.fitting.stopping.base import SETTLED, Apart, StoppingSettings, Watch, step_of_least

__all__ = ["SETTLED", "AnyStopping", "Apart", "StoppingSettings", "Watch", "step_of_least"]
