"""The union of all network inputs: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.prior.inputs.base import CodeSettings

if TYPE_CHECKING:
    AnyCode = CodeSettings
else:
    AnyCode = tagged_union(CodeSettings, __package__)

__all__ = ["AnyCode"]
