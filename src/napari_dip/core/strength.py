"""Strength: an image between the data and their restoration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import SettingsError

if TYPE_CHECKING:
    from napari_dip.core.observation import Observation
    from napari_dip.core.result import Result


def check_strength(strength: float, operator: str) -> None:
    """Raise a SettingsError if there is no image of this strength under an operator of this kind."""
    if not 0 <= strength <= 1:
        raise SettingsError(f"the strength is {strength:g}: choose a number from 0 to 1")
    if strength < 1 and operator != "identity":
        raise SettingsError(
            f"the data are not an image but what the operator '{operator}' makes of it, so that there is"
            " nothing between both: leave the strength at 1",
            setting="strength",
        )


def blend(result: Result, observation: Observation, strength: float) -> Result:
    """Return `result`, a restoration, with an image between the data (0) and itself (1).

    Notes
    -----
    The new image is s x + (1 - s) y. With the error u of the restoration x, the noise sigma of the data
    y, and their covariance, which is u^2 where an estimate has the least expected error, its error is
    sqrt((2 s - s^2) u^2 + (1 - s)^2 sigma^2).
    """
    check_strength(strength, result.provenance.recipe["operator"]["kind"])
    if strength == 1:
        return result
    recipe = {**result.provenance.recipe, "strength": strength}
    provenance = replace(result.provenance, recipe=recipe)
    data = observation.to_input_axes(observation.y)
    image = arrays.empty(data.shape, np.float32)
    residual = arrays.empty(data.shape, np.float32)
    error = None if result.uncertainty is None else arrays.empty(data.shape, np.float32)
    for block in _leading_slices(data.shape):
        has_data = np.isfinite(result.residual[block])
        image[block] = blend_images(result.image[block], data[block], has_data, strength)
        residual[block] = strength * result.residual[block]
        if error is not None and result.uncertainty is not None:
            own, noise = result.uncertainty[block], (1 - strength) * result.noise_std[block]
            both = np.hypot(np.sqrt(strength * (2 - strength)) * own, noise)
            error[block] = np.where(has_data, both, own)
    return replace(
        result,
        image=image,
        residual=residual,
        uncertainty=error,
        maps=None,
        provenance=provenance,
    )


def blend_images(
    restored: FloatArray, data: FloatArray, has_data: BoolArray, strength: float
) -> FloatArray:
    """Return an image between the data (0) and their restoration (1); that where there are no data."""
    mean: FloatArray = strength * restored + (1 - strength) * data
    return np.where(has_data, mean, restored)


def _leading_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that have few pixels each."""
    step = max(1, arrays.BLOCK_PIXELS // math.prod(shape[1:]))
    return (slice(start, start + step) for start in range(0, shape[0], step))
