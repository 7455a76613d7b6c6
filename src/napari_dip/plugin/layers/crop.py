"""Part of an image as a layer of its own, in the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from napari.layers import Image, Labels
from napari.utils.transforms import Affine

from napari_dip.core.axes import SMALLEST_SIDE
from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of, finest, spatial_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

TRIAL_SIDE = 160  # of the part that a trial restores [pixel]


def visible_part(layer: Image) -> tuple[slice, slice]:
    """Return the rows and columns of `layer` that are visible on the canvas.

    Raises
    ------
    ObservationError
        If the visible part is too small, or the canvas does not show rows and columns.
    """
    shape = finest(layer).shape[: layer.ndim]
    top, bottom = (np.asarray(corner)[-2:] for corner in layer.corner_pixels)
    factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else np.ones(2)
    low = np.clip(np.floor(top * factor), 0, shape[-2:]).astype(int)
    high = np.clip(np.ceil(bottom * factor) + 1, 0, shape[-2:]).astype(int)
    if (high - low).min() < SMALLEST_SIDE:
        raise ObservationError(
            f"fewer than {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels of '{layer.name}' are visible: zoom"
            " out, or move the image to the middle"
        )
    return slice(low[0], high[0]), slice(low[1], high[1])


def crop_layer(
    viewer: napari.viewer.Viewer, image: Image, others: Sequence[Layer], rows: slice, columns: slice
) -> Image:
    """Add a crop of `image` and of the `others`, and return the new image layer."""
    origin = uuid4().hex
    first, *rest = (_crop(layer, rows, columns, origin) for layer in (image, *others))
    for layer in (*rest, first):
        viewer.add_layer(layer)
    for layer in (image, *others):
        layer.visible = False
    viewer.layers.selection.active = first
    return first


def trial_part(image: Image, inputs: Mapping[str, Any]) -> tuple[Image, dict[str, Any]]:
    """Return the middle of what is visible of `image`, and of the inputs that have its rows and columns.

    The layers are not added to a viewer.

    Parameters
    ----------
    image : Image
        The image to restore.
    inputs : mapping
        The other arguments of `prepare_run`.

    Raises
    ------
    ObservationError
        If the visible part is too small, or the canvas does not show rows and columns.
    """
    if inputs["frames"]:
        raise ObservationError("a trial takes one image, not several exposures: press Run")
    rows, columns = (_middle(part) for part in visible_part(image))
    shape, origin = _plane_shape(image), uuid4().hex

    def part_of(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: part_of(layer) for name, layer in value.items()}
        is_same_grid = hasattr(value, "ndim") and _plane_shape(value) == shape
        return _crop(value, rows, columns, origin) if is_same_grid else value

    return part_of(image), {name: part_of(value) for name, value in inputs.items()}


def _plane_shape(layer: Layer) -> tuple[int, ...]:
    return tuple(finest(layer).shape[: layer.ndim][-2:])


def _middle(part: slice) -> slice:
    extra = max(part.stop - part.start - TRIAL_SIDE, 0)
    return slice(part.start + extra // 2, part.stop - (extra + 1) // 2)


def _crop(layer: Layer, rows: slice, columns: slice, origin: str) -> Any:
    """Return a layer with a part of another one, in the same place."""
    rgb = bool(getattr(layer, "rgb", False))
    part = np.array(finest(layer)[(..., rows, columns, *[slice(None)] * rgb)])
    kind = Image if hasattr(layer, "contrast_limits") else Labels
    return kind(part, **_options(layer, rows, columns, origin, rgb=rgb))


def _options(layer: Layer, rows: slice, columns: slice, origin: str, *, rgb: bool) -> dict[str, Any]:
    """Return the arguments of `add_image` or `add_labels` for a crop of `layer`."""
    start = np.zeros(layer.ndim)
    start[-2:] = rows.start, columns.start
    spatial = spatial_of(layer)
    transform = {name: spatial[name] for name in ("scale", "translate", "rotate", "shear")}
    entries = {**layer.metadata.get(METADATA_KEY, {}), "axes": axes_of(layer), "origin": origin}
    entries.pop("result", None)
    if header := entries.get("header"):
        from napari_dip.io.fits.wcs import crop_header

        entries["header"] = replace(
            crop_header(header, rows.start, columns.start), path="", hdu=0, name="", description=""
        )
    options = {
        **spatial,
        "translate": np.asarray(Affine(**transform, ndim=layer.ndim)(start)),
        "name": f"{layer.name} [part]",
        "opacity": layer.opacity,
        "metadata": {**layer.metadata, METADATA_KEY: entries},
    }
    if hasattr(layer, "contrast_limits"):
        options |= {"contrast_limits": layer.contrast_limits, "gamma": layer.gamma, "rgb": rgb}
        options |= {} if rgb else {"colormap": layer.colormap}
    return options
