"""Part of an image as a layer of its own, in the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from napari.utils.transforms import Affine

from napari_dip.core.axes import SMALLEST_SIDE
from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of, finest, spatial_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer


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
    added: list[Any] = []
    for layer in (image, *others):
        rgb = bool(getattr(layer, "rgb", False))
        part = np.array(finest(layer)[(..., rows, columns, *[slice(None)] * rgb)])
        add = viewer.add_image if hasattr(layer, "contrast_limits") else viewer.add_labels
        added.append(add(part, **_options(layer, rows, columns, origin, rgb=rgb)))
    viewer.layers.move(viewer.layers.index(added[0]), -1)
    for layer in (image, *others):
        layer.visible = False
    viewer.layers.selection.active = added[0]
    cropped: Image = added[0]
    return cropped


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
        "name": f"{layer.name} - crop",
        "opacity": layer.opacity,
        "metadata": {**layer.metadata, METADATA_KEY: entries},
    }
    if hasattr(layer, "contrast_limits"):
        options |= {"contrast_limits": layer.contrast_limits, "gamma": layer.gamma, "rgb": rgb}
        options |= {} if rgb else {"colormap": layer.colormap}
    return options
