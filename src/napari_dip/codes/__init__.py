"""Codes z: what the network is given, a fixed input that is shaken a little at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.codes.base import Canvas, Code, CodeSettings
from napari_dip.settings import tagged_union

if TYPE_CHECKING:
    AnyCode = CodeSettings
else:
    AnyCode = tagged_union(CodeSettings, __name__)

__all__ = ["AnyCode", "Canvas", "Code", "CodeSettings"]
