"""How a result was made."""

from __future__ import annotations

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation


def flux_change(observation: Observation, residual: FloatArray) -> float | None:
    """By what part what the result predicts differs from the data's sum; None about a level of 0."""
    places = list(arrays.iter_blocks(observation.y.shape))
    total = sum(float(np.nansum(observation.y[place], dtype=float)) for place in places)
    size = sum(float(np.nansum(np.abs(observation.y[place]), dtype=float)) for place in places)
    return -float(np.nansum(residual, dtype=float)) / total if abs(total) > 0.01 * size else None
