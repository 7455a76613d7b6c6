"""Axes, file headers and related layers of napari layers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_dip.core.axes import CANONICAL_AXES
from napari_dip.core.header import Header
from napari_dip.io.tiff.calibration import ome_calibration

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image, Layer

METADATA_KEY = "napari-dip"  # key of our entries in a layer's metadata
MASK, NOISE, QUALITY = "mask", "noise", "quality"  # roles of the layers that come with an image
RESULT = "result"  # role of the layers that belong to a restored image
NAMES_IN_FILES = {"coil_maps": ("coil_maps", "coil maps", "coils")}  # of auxiliary data


def axes_of(layer: Layer) -> str:
    """Return the axis letters of a layer's pixels."""
    rgb = bool(getattr(layer, "rgb", False))
    return guess_axes(layer.metadata, layer.axis_labels, layer.ndim + rgb, rgb=rgb)


def guess_axes(metadata: Mapping[str, Any], labels: Sequence[str], count: int, *, rgb: bool) -> str:
    """Return the axes recorded by the reader, else the axis labels, else ImageJ's order.

    Up to two unnamed leading axes are taken for time and depth, which are restored plane by plane, so
    that nothing is mixed up; with three, the channels are where ImageJ has them, T Z C Y X. An axis
    that cannot be named is "?".
    """
    recorded = str(metadata.get(METADATA_KEY, {}).get("axes", ""))
    if len(recorded) == count:
        return recorded
    letters = "".join(str(label).strip().upper()[:1] or "?" for label in labels)
    named = letters + "C" * rgb
    known = {"Y", "X"} <= set(named) <= set(CANONICAL_AXES)
    if known and len(named) == count == len(set(named)):
        return named
    leading, num_leading = letters[:-2], count - 2 - rgb
    if len(leading) != num_leading or len(set(leading)) != num_leading or not set(leading) <= set("TCZ"):
        leading = ("", "T", "TZ", "TZC")[num_leading] if 0 <= num_leading <= 3 else "?" * num_leading
    return f"{leading}YX{'C' * rgb}"


def related_layer(layer: Layer, others: Iterable[Layer], role: str) -> Layer | None:
    """Return the layer that belongs to `layer` in a role, or None; of several masks the last one.

    Parameters
    ----------
    layer : Layer
        An image.
    others : iterable of Layer
        Where to look.
    role : str
        MASK, NOISE or QUALITY for a layer that the reader made with the image, or a mask made for it
        in a dock; or the name of auxiliary data for another image of the same file with this name.
    """
    entries = layer.metadata.get(METADATA_KEY, {})
    origin, header = entries.get("origin"), entries.get("header")
    names = NAMES_IN_FILES.get(role, (role,)) if role != MASK else ()
    for other in reversed(list(others)):
        other_entries = other.metadata.get(METADATA_KEY, {})
        is_of_image = other_entries.get("image") == layer.unique_id
        is_of_image |= bool(origin) and other_entries.get("origin") == origin
        if is_of_image and other_entries.get("role") == role:
            return other
        other_header = other_entries.get("header")
        if other is layer or not (header and other_header):
            continue
        if other_header.path == header.path and other_header.name.lower() in names:
            return other
    return None


def find_layer(layers: Iterable[Layer], unique_id: Hashable) -> Any:
    """Return the layer with this unique id, or None if it has been removed."""
    return next((layer for layer in layers if layer.unique_id == unique_id), None)


@contextmanager
def same_selection(layers: LayerList) -> Iterator[None]:
    """Keep the user's selection, which receives the next brush stroke, while layers are added."""
    selected, active = set(layers.selection), layers.selection.active
    yield
    layers.selection = selected
    layers.selection.active = active


def is_byproduct(layer: Layer) -> bool:
    """Return whether `layer` was made as the noise, mask or quality flags of another, or belongs to a
    result: it is no image to restore.
    """
    return bool(layer.metadata.get(METADATA_KEY, {}).get("role"))


def finest(layer: Layer) -> Any:
    """Return the layer's data at full resolution."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def spatial_of(layer: Layer) -> dict[str, Any]:
    """Return the layer's placement as arguments of `add_image`, `add_labels` and the like."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def same_placement(layer: Layer, other: Layer) -> bool:
    """Whether pixels with the same last indices of two layers are displayed in the same place."""
    ndim = min(layer.ndim, other.ndim)
    corners = np.array([np.zeros(ndim), np.ones(ndim)])
    positions = [
        [source.data_to_world(np.pad(corner, (source.ndim - ndim, 0)))[-ndim:] for corner in corners]
        for source in (layer, other)
    ]
    return np.allclose(positions[0], positions[1], rtol=1e-5, atol=1e-6)


def layer_data_units(layer: Layer) -> Any:
    """Return the layer's pixels at full resolution in data units; lazy arrays stay lazy."""
    rgb = bool(getattr(layer, "rgb", False))
    return to_data_units(finest(layer), layer.metadata.get(METADATA_KEY, {}), rgb=rgb)


def to_data_units(pixels: Any, entries: Mapping[str, Any], *, rgb: bool) -> Any:
    """Return `pixels` in data units: our own RGB layers hold values from 0 to 1."""
    return pixels * entries["white"] if rgb and "white" in entries else pixels


def header_of(layer: Image, axes: str | None = None) -> Header:
    """Return the header of the layer's file, or one made from the layer's name and scale.

    With `axes` that differ from the layer's, the pixel sizes are those along these axes.
    """
    own = axes_of(layer)
    sizes = pixel_sizes({"scale": layer.scale, "units": layer.units}, (axes or own)[: layer.ndim])
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    if isinstance(header, Header):
        return header if axes in (None, own) else replace(header, pixel_size=sizes)
    known = _header_of_bioio(layer)
    return replace(
        known,
        path=str(layer.source.path or ""),
        name=layer.name,
        pixel_size=sizes or {a: size for a, size in known.pixel_size.items() if a in (axes or own)},
    )


def _header_of_bioio(layer: Image) -> Header:
    """What the metadata of a layer say that bioio's plugin has opened, one layer for each channel."""
    image, ome = (layer.metadata.get(key) for key in ("bioimage", "ome_metadata"))
    try:
        xml = ome.to_xml()
        found = ome_calibration(ElementTree.fromstring(xml), image.current_scene_index)
    except (AttributeError, ElementTree.ParseError):
        return Header()
    if found is None:
        return Header()
    sizes, channels = found
    own = tuple(name for name in channels if layer.name.startswith(f"{name} :: "))
    is_whole = len(channels) < 2
    return Header(
        pixel_size=sizes,
        channels=channels if is_whole else own,
        hdu=image.current_scene_index,
        description=xml if is_whole else "",
    )


_SHORT_UNITS = {
    "micrometer": "um",
    "arcsecond": "arcsec",
    "angstrom": "angstrom",
    "microsecond": "us",
}


def pixel_sizes(attributes: Mapping[str, Any], axes: str) -> dict[str, tuple[float, str]]:
    """Return pixel sizes by axis, from a layer's scale and units; none where the unit is the pixel."""
    scale, units = attributes.get("scale"), attributes.get("units")
    if scale is None or units is None or not len(scale) == len(units) == len(axes):
        return {}
    sizes = {}
    for letter, size, unit in zip(axes, scale, units, strict=True):
        if str(unit) not in ("pixel", "dimensionless"):
            sizes[letter] = (float(size), _SHORT_UNITS.get(str(unit)) or f"{unit:~}")
    return sizes
