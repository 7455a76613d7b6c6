"""Image and Labels layers of napari, which is never imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import axes_from_names
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.interop.parts import Parts

if TYPE_CHECKING:
    from napari_dip.core.result import Result

LAYER_METADATA_KEY = "napari-dip"  # where the metadata of a layer hold ours
_SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def parts_of_layer(layer: Any) -> Parts:
    """The parts of a layer of napari; its result is a tuple (data, attributes, "image")."""
    rgb = bool(getattr(layer, "rgb", False))
    array = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    ours = layer.metadata.get(LAYER_METADATA_KEY, {})
    axes = str(ours.get("axes", ""))
    if len(axes) != len(array.shape):
        named = axes_from_names(layer.axis_labels) + "C" * rgb
        is_valid = len(named) == len(array.shape) and len(set(named)) == len(named)
        axes = named if is_valid and "?" not in named else "YXC" if rgb and len(array.shape) == 3 else ""

    def wrap(result: Result, values: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any], str]:
        spatial = {name: getattr(layer, name) for name in _SPATIAL}
        if result.scale_factor != (1.0, 1.0):
            spatial |= rescaled_placement(layer, result.scale_factor)
        spatial = _select_axes(
            spatial, [letter in result.axes for letter in result.provenance.input.axes]
        )
        options = {"name": f"{layer.name} [restored]", "rgb": rgb, "metadata": dict(layer.metadata)}
        return values, {**options, **spatial}, "image"

    return Parts(array, axes, header=ours.get("header") or Header(), wrap=wrap)


def _select_axes(spatial: dict[str, Any], kept: list[bool]) -> dict[str, Any]:
    """The placement along the axes that a result has: exposures that are combined lose T."""
    axes = [axis for axis, is_kept in zip(range(len(spatial["scale"])), kept, strict=False) if is_kept]
    if len(axes) == len(spatial["scale"]):
        return spatial
    first, second = np.triu_indices(len(spatial["scale"]), 1)
    matrix = np.asarray(spatial["affine"].affine_matrix)
    return {
        "scale": np.asarray(spatial["scale"])[axes],
        "translate": np.asarray(spatial["translate"])[axes],
        "rotate": np.asarray(spatial["rotate"])[np.ix_(axes, axes)],
        "shear": np.asarray(spatial["shear"])[np.isin(first, axes) & np.isin(second, axes)],
        "affine": matrix[np.ix_([*axes, -1], [*axes, -1])],
        "units": [spatial["units"][axis] for axis in axes],
        "axis_labels": [spatial["axis_labels"][axis] for axis in axes],
    }


def rescaled_placement(layer: Any, factors: tuple[float, float]) -> dict[str, Any]:
    """Scale and translation of a layer on a finer grid with the same outer edges."""
    if not (np.allclose(layer.rotate, np.eye(layer.ndim)) and np.allclose(layer.shear, 0)):
        raise ObservationError(
            f"layer '{layer.name}' is rotated or sheared, so that a finer grid cannot be placed on it:"
            " use the dock, or pass layer.data"
        )
    scale, translate = np.array(layer.scale, float), np.array(layer.translate, float)
    fine = scale.copy()
    fine[-2:] /= factors
    return {"scale": fine, "translate": translate + (fine - scale) / 2}
