"""Forward operators A: linear maps from the scene to the noise-free data, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.operators.base import Operator, OperatorSettings
from napari_dip.settings import tagged_union

if TYPE_CHECKING:
    AnyOperator = OperatorSettings
else:
    AnyOperator = tagged_union(OperatorSettings, __name__)

__all__ = ["AnyOperator", "Operator", "OperatorSettings"]
