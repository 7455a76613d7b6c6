"""Signal equations, whose parameters are mapped: one file for each."""

from napari_dip.physics.signals._kinds import AnySignal
from napari_dip.physics.signals.base import Parameter, Signal

__all__ = ["AnySignal", "Parameter", "Signal"]
