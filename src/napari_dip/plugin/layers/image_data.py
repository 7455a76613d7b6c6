"""Conversion between the images of files and napari layers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import WriteError
from napari_dip.core.header import Header
from napari_dip.core.result import Result
from napari_dip.io import COIL_MAPS_NAME, KSPACE_NAME, ImageData
from napari_dip.plugin.layers.bad_flags import flag_features
from napari_dip.plugin.layers.metadata import (
    MASK,
    METADATA_KEY,
    NOISE,
    QUALITY,
    guess_axes,
    pixel_sizes,
    to_data_units,
)

LayerData = tuple[Any, dict[str, Any], str]


def layer_data(image: ImageData, path: str | os.PathLike[str]) -> list[LayerData]:
    """Return an image of a file as layers: its pixels, and if it has them its noise, flags and mask."""
    if not image.rgb:  # channels that are not colors become an axis
        image = image.planes_last()
    if image.header.name == KSPACE_NAME:  # napari aligns last axes, and restored images have no coils
        image = image.with_axis_order("CTZYX")
    axes, mask = image.axes, image.mask
    stem = Path(path).name if Path(path).suffix else str(path)
    name = f"{stem} {image.header.name}".strip()
    spatial = _spatial(image.header, axes, rgb=image.rgb)
    origin = uuid4().hex  # shared by the layers of one image

    def byproduct(array: Any, role: str, kind: str, *, options: Any, **entries: Any) -> LayerData:
        entries = {"axes": axes[: array.ndim], "origin": origin, "role": role, **entries}
        names = {"name": f"{name} - {role}", "metadata": {METADATA_KEY: entries}}
        return array, {**names, **options, **spatial}, kind

    entries = {"axes": axes, "header": image.header, "origin": origin}
    options = {
        "name": name,
        "metadata": {METADATA_KEY: entries, **_shared_metadata(image.header)},
        "rgb": image.rgb,
        "visible": image.header.name != COIL_MAPS_NAME,  # which would hide the k-space
        **_display_options(image, mask),
        **spatial,
    }
    layers = [([image.array, *image.levels] if image.levels else image.array, options, "image")]
    if image.sigma is not None:
        layers.append(byproduct(image.sigma, NOISE, "image", options={"visible": False}))
    quality = image.quality
    flags = quality.flag_counts() if quality else {}
    if quality and (len(flags) > 1 or not quality.bad.issuperset(flags)):
        look = {"opacity": 0.5, "visible": False, "features": flag_features(quality)}
        layers.append(byproduct(quality.values, QUALITY, "labels", options=look, quality=quality))
    if mask is not None:
        pixels = (mask.any(axis=-1) if image.rgb else mask).astype(np.uint8)
        layers.append(byproduct(pixels, MASK, "labels", options={"opacity": 0.5}))
    return layers


def image_from_layer(data: Any, attributes: Mapping[str, Any]) -> tuple[ImageData, Mapping[str, Any]]:
    """Return a layer's data as an image to write, and the metadata of its restoration, if it is one.

    Raises
    ------
    WriteError
        If the layer has more axes than an image can have.
    """
    pixels = np.asarray(data[0] if isinstance(data, Sequence) else data)  # a pyramid is a sequence
    metadata = attributes.get("metadata", {})
    entries = metadata.get(METADATA_KEY, {})
    rgb = bool(attributes.get("rgb", False))
    axes = guess_axes(metadata, attributes.get("axis_labels") or (), pixels.ndim, rgb=rgb)
    if "?" in axes:
        raise WriteError(
            f"a layer of shape {pixels.shape} has more axes than T, C, Z, Y and X: save one part of it"
        )
    result: Result | None = entries.get("result")
    header: Header = entries.get("header") or Header()
    if not header.pixel_size:
        header = replace(header, pixel_size=pixel_sizes(attributes, axes[:-1] if rgb else axes))
    if result is None or result.image.shape != pixels.shape:
        return ImageData(to_data_units(pixels, entries, rgb=rgb), axes, header=header, rgb=rgb), {}
    # RGB layers hold values clipped to 0..1: while nobody has changed them, the result is saved.
    unchanged = rgb and np.array_equal(pixels, np.clip(result.image / entries["white"], 0, 1))
    array = result.image if unchanged else to_data_units(pixels, entries, rgb=rgb)
    return replace(ImageData.from_result(result), array=array, axes=axes, header=header), result.metadata


def _display_options(image: ImageData, mask: NDArray[Any] | None) -> dict[str, Any]:
    """Return how the file wants its values displayed, and whether it is a pyramid."""
    options: dict[str, Any] = {"multiscale": True} if image.levels else {}
    if image.colormap is not None:
        options["colormap"] = {"colors": image.colormap, "name": "from the file"}
        if len(image.colormap) > 2:  # a color for each value
            options["contrast_limits"] = (0, len(image.colormap) - 1)
    if image.header.fits_header and (pixels := _sample(image.array, mask)).size:
        from astropy.visualization import ZScaleInterval  # imports matplotlib

        # What astronomers expect: from the noise of the sky to a little above it.
        low, high = ZScaleInterval().get_limits(pixels)
        if high > low:
            options["contrast_limits"] = (float(low), float(high))
    return options


def _sample(array: Any, mask: NDArray[Any] | None) -> NDArray[Any]:
    """Return the valid pixels; of a lazy array those of a central part of one plane."""
    if isinstance(array, np.ndarray):
        return array if mask is None else array[~mask]
    middle = (slice(max(size // 2 - 256, 0), size // 2 + 256) for size in array.shape[-2:])
    return np.asarray(array[(*(size // 2 for size in array.shape[:-2]), *middle)])


def _spatial(header: Header, axes: str, *, rgb: bool) -> dict[str, Any]:
    letters = axes.rstrip("C") if rgb else axes
    sizes = [header.pixel_size.get(letter, (1.0, "pixel")) for letter in letters]
    return {
        "scale": [size for size, _ in sizes],
        "units": [unit for _, unit in sizes],
        "axis_labels": [letter.lower() for letter in letters],
    }


def _shared_metadata(header: Header) -> dict[str, Any]:
    """Return parts of the header under keys that other plugins know."""
    shared: dict[str, Any] = {}
    if header.unit:
        shared["unit"] = header.unit
    if header.fits_header:
        shared["header"] = header.fits_header
    if header.channels:
        shared["channels"] = list(header.channels)
    return shared
