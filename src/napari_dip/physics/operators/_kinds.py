"""All kinds of forward operators: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.physics.operators.base import OperatorSettings

if TYPE_CHECKING:
    AnyOperator = OperatorSettings
else:
    AnyOperator = tagged_union(OperatorSettings, __package__)

__all__ = ["AnyOperator"]
