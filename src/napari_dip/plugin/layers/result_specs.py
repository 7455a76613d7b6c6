"""The layers that a result adds besides the restored image, as data and options of napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.header import Header
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.plugin.layers.metadata import METADATA_KEY, RESULT
from napari_dip.plugin.layers.placement import LayerPlacement

RESIDUAL_LIMIT_SIGMAS = 5  # contrast limits of the normalized residual
MAP_LIMITS = (0.01, 0.99)  # quantiles of a map that are its contrast limits
UNCERTAINTY_LIMIT_RMS = 4  # upper contrast limit of the uncertainty, in its r.m.s.


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """A layer to add.

    Attributes
    ----------
    kind : str
        "image", "labels" or "points".
    data : array
        The layer's data.
    options : dict
        Arguments of the viewer's `add_image`, `add_labels` or `add_points`.
    """

    kind: str
    data: Any
    options: dict[str, Any]


def phase_spec(phase: FloatArray, placement: LayerPlacement) -> LayerSpec:
    """Return the phase of a complex image. [rad]"""
    display = {"contrast_limits": (-np.pi, np.pi), "colormap": "hsv", "gamma": 1}
    return LayerSpec("image", phase, placement.image_options("phase", role=RESULT) | display)


def steps_spec(
    result: Result,
    snapshots: Sequence[tuple[int, FloatArray]],
    step: int,
    placement: LayerPlacement,
) -> LayerSpec:
    """Return the images along the fit, one every `step` steps, as a stack."""
    stack = np.stack([placement.to_display(image) for _, image in snapshots])
    options = placement.image_options("steps", header=result.header)
    options["metadata"] |= {"steps": [number for number, _ in snapshots]}
    options["metadata"][METADATA_KEY] = {"role": RESULT}  # the stack has another axis than the image
    options |= placement.stack_options("step", step)
    return LayerSpec("image", stack, options)


def residual_spec(result: Result, header: Header, placement: LayerPlacement) -> LayerSpec:
    """Return the normalized residual; `header` and `placement` are those of its data."""
    return _byproduct_spec(
        "residual",
        normalized_residual(result, rgb=placement.rgb),
        result.residual_axes,
        replace(header, unit=""),
        placement,
        contrast_limits=(-RESIDUAL_LIMIT_SIGMAS, RESIDUAL_LIMIT_SIGMAS),
        colormap="PiYG",
    )


def normalized_residual(result: Result, *, rgb: bool) -> FloatArray:
    """Return the normalized residual; of an RGB image that of the mean of its channels."""
    values = result.normalized_residual
    return values.sum(axis=-1) / np.sqrt(values.shape[-1]) if rgb else values


def uncertainty_spec(result: Result, placement: LayerPlacement) -> LayerSpec | None:
    """Return the uncertainty; None where there was only one fit."""
    values = uncertainty_values(result, rgb=placement.rgb)
    if values is None:
        return None
    finite = values[np.isfinite(values)]
    limit = UNCERTAINTY_LIMIT_RMS * float(np.sqrt(np.mean(finite**2))) if finite.any() else 1.0
    return _byproduct_spec(
        "uncertainty",
        values,
        result.axes,
        result.header,
        placement,
        contrast_limits=(0, limit),
        colormap="magma",
    )


def uncertainty_values(result: Result, *, rgb: bool) -> FloatArray | None:
    """Return the uncertainty; of an RGB image the mean of its channels."""
    values = result.uncertainty
    return values.mean(axis=-1) if rgb and values is not None else values


def map_specs(maps: ParameterMaps, header: Header, placement: LayerPlacement) -> list[LayerSpec]:
    """Return the maps of a signal equation, the parameter first and alone visible."""
    specs: list[LayerSpec] = []
    for name, values, unit in maps.planes():
        finite = values[np.isfinite(values)]
        low, high = np.quantile(finite, MAP_LIMITS) if finite.size else (0.0, 1.0)
        label = f"{name}, {unit}" if unit else name
        spec = _byproduct_spec(
            label,
            values,
            maps.axes,
            replace(header, unit=unit),
            placement,
            contrast_limits=(float(low), float(max(high, low + 1e-12))),
            colormap="viridis",
            visible=not specs,
        )
        specs.append(spec)
    return specs


def filled_spec(result: Result, placement: LayerPlacement) -> LayerSpec | None:
    """Return the inpainted pixels as labels; None where all pixels were observed."""
    if not result.inpainted.any():
        return None
    pixels = result.inpainted.any(axis=-1) if placement.rgb else result.inpainted
    options = {"name": f"{placement.name} [filled]", "opacity": 0.4}
    return LayerSpec("labels", pixels.astype(np.uint8), options | dict(placement.spatial))


def unreproduced_spec(result: Result, placement: LayerPlacement) -> LayerSpec | None:
    """Return rings around small sources that most fits do not show; None without any."""
    sources = result.provenance.ensemble.unreproduced_sources
    if not sources:
        return None
    axes = result.axes.replace("C", "") if placement.rgb else result.axes
    points = [
        [dict(zip("TZYX", source, strict=True)).get(axis, 0) for axis in axes] for source in sources
    ]
    options = {
        "name": f"{placement.name} [unsure sources]",
        "size": 15,
        "face_color": "transparent",
        "border_color": "orange",
    }
    return LayerSpec("points", points, options | dict(placement.spatial))


def _byproduct_spec(
    suffix: str,
    values: FloatArray,
    axes: str,
    header: Header,
    placement: LayerPlacement,
    **display: Any,
) -> LayerSpec:
    """Return an image of another quantity than the restored image."""
    options = placement.image_options(suffix, role=RESULT, header=_byproduct_header(header, suffix))
    options["metadata"][METADATA_KEY]["axes"] = axes[: values.ndim]
    return LayerSpec("image", values, options | display | {"rgb": False, "gamma": 1})


def _byproduct_header(header: Header, name: str) -> Header:
    """Return the header of a by-product: its coordinates, but not the source's other extensions."""
    lines = header.fits_header.splitlines()
    if not header.unit:  # the source's unit is not that of a ratio
        lines = [line for line in lines if not line.startswith("BUNIT ")]
    note = f"HISTORY No image of the sky: the {name} of a restoration."
    cards = "\n".join([*lines, note.ljust(80)]) if header.fits_header else ""
    return replace(header, path="", hdu=0, name=name, fits_header=cards, description="")
