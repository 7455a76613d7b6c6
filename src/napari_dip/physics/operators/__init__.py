"""Forward operators A: linear maps from the scene to the noise-free data, one file each."""

from napari_dip.physics.operators._kinds import AnyOperator
from napari_dip.physics.operators.base import Operator, OperatorSettings

__all__ = ["AnyOperator", "Operator", "OperatorSettings"]
