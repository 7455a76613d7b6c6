"""Codes z: what the network is given, a fixed input that is shaken a little at every step."""

from napari_dip.prior.inputs._union import AnyCode
from napari_dip.prior.inputs.base import Canvas, Code, CodeSettings

__all__ = ["AnyCode", "Canvas", "Code", "CodeSettings"]
