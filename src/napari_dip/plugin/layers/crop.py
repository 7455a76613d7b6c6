"""A part of an image as a layer of its own, in the same place."""

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
    """Rows and columns of `layer` that the canvas shows.

    Raises
    ------
    ObservationError
        If it shows too little of it, or another plane than rows and columns.
    """
    shape = finest(layer).shape[: layer.ndim]
    top, bottom = (np.asarray(corner)[-2:] for corner in layer.corner_pixels)
    factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else np.ones(2)
    low = np.clip(np.floor(top * factor), 0, shape[-2:]).astype(int)
    high = np.clip(np.ceil(bottom * factor) + 1, 0, shape[-2:]).astype(int)
    if (high - low).min() < SMALLEST_SIDE:
        raise ObservationError(
            f"less than {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels of '{layer.name}' are seen: zoom out,"
            " or move it into the middle"
        )
    return slice(low[0], high[0]), slice(low[1], high[1])


def crop_layer(
    viewer: napari.viewer.Viewer,
    layer: Image,
    companions: Sequence[Layer],
    rows: slice,
    columns: slice,
) -> Image:
    """Add some rows and columns of `layer` and of its `companions`; the new image is given back."""
    origin = uuid4().hex
    added: list[Any] = []
    for one in (layer, *companions):
        rgb = bool(getattr(one, "rgb", False))
        part = np.array(finest(one)[(..., rows, columns, *[slice(None)] * rgb)])
        add = viewer.add_image if hasattr(one, "contrast_limits") else viewer.add_labels
        added.append(add(part, **_options(one, rows, columns, origin, rgb=rgb)))
    viewer.layers.move(viewer.layers.index(added[0]), -1)
    for one in (layer, *companions):
        one.visible = False
    viewer.layers.selection.active = added[0]
    image: Image = added[0]
    return image


def _options(one: Layer, rows: slice, columns: slice, origin: str, *, rgb: bool) -> dict[str, Any]:
    start = np.zeros(one.ndim)
    start[-2:] = rows.start, columns.start
    spatial = spatial_of(one)
    place = {name: spatial[name] for name in ("scale", "translate", "rotate", "shear")}
    ours = {**one.metadata.get(METADATA_KEY, {}), "axes": axes_of(one), "origin": origin}
    ours.pop("result", None)
    if header := ours.get("header"):
        from napari_dip.io.fits.wcs import crop_header

        ours["header"] = replace(
            crop_header(header, rows.start, columns.start), path="", hdu=0, name="", description=""
        )
    options = {
        **spatial,
        "translate": np.asarray(Affine(**place, ndim=one.ndim)(start)),
        "name": f"{one.name} - part",
        "opacity": one.opacity,
        "metadata": {**one.metadata, METADATA_KEY: ours},
    }
    if hasattr(one, "contrast_limits"):
        options |= {"contrast_limits": one.contrast_limits, "gamma": one.gamma, "rgb": rgb}
        options |= {} if rgb else {"colormap": one.colormap}
    return options
