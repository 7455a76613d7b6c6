"""Codes z: what the network is given, a fixed input that is shaken a little at every step."""

from napari_dip.prior.inputs._kinds import AnyInput
from napari_dip.prior.inputs.base import InputContext, InputSettings, NetworkInput

__all__ = ["AnyInput", "InputContext", "InputSettings", "NetworkInput"]
