"""What layers tell and hold: axes, companions, places and metadata, translated once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import CANONICAL_AXES
from napari_dip.core.errors import WriteError
from napari_dip.core.header import Header
from napari_dip.core.result import Result
from napari_dip.io import ImageData
from napari_dip.io.data_quality import DataQuality

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

LayerData = tuple[Any, dict[str, Any], str]

METADATA_KEY = "napari-dip"  # where a layer's metadata hold what is ours


def axes_of(layer: Layer) -> str:
    """The axis letters of a layer's pixels."""
    rgb = bool(getattr(layer, "rgb", False))
    return _axes(layer.metadata, layer.axis_labels, layer.ndim + rgb, rgb=rgb)


def _axes(metadata: Mapping[str, Any], labels: Sequence[str], count: int, *, rgb: bool) -> str:
    """What the reader said, else the axis labels, else ImageJ's order.

    Of axes that nobody named, up to two are time and depth, which are restored frame by frame, so
    that nothing is mixed up; with three, the channels are where ImageJ has them, T Z C Y X.
    """
    ours = str(metadata.get(METADATA_KEY, {}).get("axes", ""))
    if len(ours) == count:
        return ours
    letters = "".join(str(label).strip().upper()[:1] or "?" for label in labels)
    own = letters + "C" * rgb
    if len(own) == count and len(set(own)) == count and {"Y", "X"} <= set(own) <= set(CANONICAL_AXES):
        return own
    leading, spare = letters[:-2], count - 2 - rgb
    if len(leading) != spare or len(set(leading)) != spare or not set(leading) <= set("TCZ"):
        leading = ("", "T", "TZ", "TZC")[spare] if 0 <= spare <= 3 else "?" * spare
    return f"{leading}YX{'C' * rgb}"


def related_layer(layer: Layer, others: Iterable[Layer], role: str) -> Layer | None:
    """The layer of `others` that `layer`'s file gave as its holes or noise, or by the name `role`."""
    mine = layer.metadata.get(METADATA_KEY, {})
    origin, header = mine.get("origin"), mine.get("header")
    for other in others:
        ours = other.metadata.get(METADATA_KEY, {})
        if origin and ours.get("origin") == origin and ours.get("role") == role:
            return other
        named = ours.get("header")
        if other is layer or not (header and named):
            continue
        if (named.name.lower(), named.path) == (role, header.path):
            return other
    return None


def mask_with_flag(
    quality: Labels, image: Image, holes: Labels | None, flag: int, *, hole: bool
) -> NDArray[np.uint8]:
    """The pixels of `holes` once a flag of `quality` is one of holes, or is none; strokes stay.

    `quality` remembers it.
    """
    ours = quality.metadata[METADATA_KEY]
    before: DataQuality = ours["quality"]
    bad = before.bad | {flag} if hole else before.bad - {flag}
    ours["quality"] = after = before.with_bad_flags(bad)
    features = quality.features.copy()
    features["hole"] = [after.is_bad(int(value)) for value in features["index"]]
    quality.features = features
    pixels = np.zeros(quality.data.shape, np.uint8) if holes is None else np.array(holes.data)
    if hole:
        pixels[before.with_flag(flag)] = 1
    else:
        known = np.isfinite(np.asarray(image.data))
        pixels[before.with_flag(flag) & ~after.mask() & known] = 0
    return pixels


def is_byproduct(layer: Layer) -> bool:
    """Whether a reader brought `layer` along as the noise or the holes of another."""
    return bool(layer.metadata.get(METADATA_KEY, {}).get("role"))


def layer_data(image: ImageData, path: str | os.PathLike[str]) -> list[LayerData]:
    """A file's image as layers: its pixels, and where it has them its noise and its holes."""
    if not image.rgb:  # channels that are no colours become an axis
        image = image.planes_last()
    array, axes, holes, sigma = image.array, image.axes, image.mask, image.sigma
    stem = Path(path).name if Path(path).suffix else str(path)
    name = f"{stem} {image.header.name}".strip()
    spatial = _spatial(image.header, axes, image.rgb)
    origin = uuid4().hex  # by which companions know each other
    metadata = {
        METADATA_KEY: {"axes": axes, "header": image.header, "origin": origin},
        **_shared_metadata(image.header),
    }
    options = {
        "name": name,
        "metadata": metadata,
        "rgb": image.rgb,
        **_display_options(image),
        **spatial,
    }
    layers: list[LayerData] = [([array, *image.levels] if image.levels else array, options, "image")]
    seen = _sample(array, holes)
    if image.header.fits_header and seen.size:
        from astropy.visualization import ZScaleInterval  # which brings matplotlib

        # What astronomers expect: from the sky's noise to what is a little brighter than it.
        low, high = ZScaleInterval().get_limits(seen)
        if high > low:
            options["contrast_limits"] = (float(low), float(high))
    if sigma is not None:
        ours = {"axes": axes, "origin": origin, "role": "noise"}
        about = {"name": f"{name} - noise", "metadata": {METADATA_KEY: ours}, "visible": False}
        layers.append((sigma, {**about, **spatial}, "image"))
    kinds = image.quality.flag_counts() if image.quality else {}
    if image.quality and (len(kinds) > 1 or not image.quality.bad.issuperset(kinds)):
        mine = {"axes": axes, "origin": origin, "role": "quality", "quality": image.quality}
        look = {"opacity": 0.5, "visible": False, "features": _flag_features(image.quality)}
        about = {"name": f"{name} - quality", "metadata": {METADATA_KEY: mine}, **look}
        layers.append((image.quality.values, {**about, **spatial}, "labels"))
    if holes is not None:
        marked = holes.any(axis=-1) if image.rgb else holes
        ours = {"axes": axes[: marked.ndim], "origin": origin, "role": "holes"}
        about = {"name": f"{name} - holes", "opacity": 0.5, "metadata": {METADATA_KEY: ours}}
        layers.append((marked.astype(np.uint8), {**about, **spatial}, "labels"))
    return layers


def _display_options(image: ImageData) -> dict[str, Any]:
    """How the file wants its values shown, and how a pyramid is."""
    look: dict[str, Any] = {"multiscale": True} if image.levels else {}
    if image.colormap is not None:
        look["colormap"] = {"colors": image.colormap, "name": "from the file"}
        if len(image.colormap) > 2:  # a colour for each value
            look["contrast_limits"] = (0, len(image.colormap) - 1)
    return look


def _sample(array: Any, holes: NDArray[Any] | None) -> NDArray[Any]:
    """The pixels that tell how bright an image is; of one that is read when it is asked for, some."""
    if isinstance(array, np.ndarray):
        return array if holes is None else array[~holes]
    middle = (slice(max(size // 2 - 256, 0), size // 2 + 256) for size in array.shape[-2:])
    return np.asarray(array[(*(size // 2 for size in array.shape[:-2]), *middle)])


def _flag_features(quality: DataQuality) -> dict[str, list[Any]]:
    """What each value of a quality plane says, as the features of its labels."""
    present = [int(value) for value in np.unique(quality.values)]
    return {
        "index": present,
        "flags": [quality.describe(value) for value in present],
        "hole": [quality.is_bad(value) for value in present],
    }


def image_from_layer(data: Any, attributes: Mapping[str, Any]) -> tuple[ImageData, Mapping[str, Any]]:
    """A layer's data and attributes as an image to write, and how it was made, if we made it.

    Raises
    ------
    WriteError
        If the layer has more axes than an image can have.
    """
    pixels = np.asarray(data[0] if isinstance(data, Sequence) else data)  # a pyramid is a sequence
    metadata = attributes.get("metadata", {})
    ours = metadata.get(METADATA_KEY, {})
    rgb = bool(attributes.get("rgb", False))
    axes = _axes(metadata, attributes.get("axis_labels") or (), pixels.ndim, rgb=rgb)
    if "?" in axes:
        raise WriteError(f"a layer of shape {pixels.shape} has more axes than T, C, Z, Y and X")
    result: Result | None = ours.get("result")
    header: Header = ours.get("header") or Header()
    if not header.pixel_size:
        header = replace(header, pixel_size=_sizes(attributes, axes[:-1] if rgb else axes))
    if result is None or result.image.shape != pixels.shape:
        return ImageData(_unscaled(pixels, ours, rgb=rgb), axes, header=header, rgb=rgb), {}
    # Colours are shown from 0 to 1; as long as nobody painted in them, what was restored is saved.
    untouched = rgb and np.array_equal(pixels, np.clip(result.image / ours["white"], 0, 1))
    image = result.image if untouched else _unscaled(pixels, ours, rgb=rgb)
    return replace(ImageData.from_result(result), array=image, axes=axes, header=header), result.metadata


def finest(layer: Layer) -> Any:
    """The layer's data at full resolution, as it is shown."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def spatial_of(layer: Layer) -> dict[str, Any]:
    """Where and how a layer lies, as arguments for another one that lies on it."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def layer_data_units(layer: Layer) -> Any:
    """The layer's pixels at full resolution, in data units; lazy ones stay so."""
    data = finest(layer)
    rgb = bool(getattr(layer, "rgb", False))
    return _unscaled(data, layer.metadata.get(METADATA_KEY, {}), rgb=rgb)


def _unscaled(pixels: Any, ours: Mapping[str, Any], *, rgb: bool) -> Any:
    """`pixels` in data units: our own colour layers are shown from 0 to 1."""
    return pixels * ours["white"] if rgb and "white" in ours else pixels


def header_of(layer: Image, axes: str | None = None) -> Header:
    """What the file said, or the layer says; with pixel sizes along `axes` where others are given."""
    own = axes_of(layer)
    about = {"scale": layer.scale, "units": layer.units}
    sizes = _sizes(about, (axes or own)[: layer.ndim])
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    if isinstance(header, Header):
        return header if axes in (None, own) else replace(header, pixel_size=sizes)
    return Header(path=str(layer.source.path or ""), name=layer.name, pixel_size=sizes)


def _sizes(attributes: Mapping[str, Any], axes: str) -> dict[str, tuple[float, str]]:
    """Pixel sizes from a layer's scale and units; nothing where the unit is still the pixel."""
    scale, units = attributes.get("scale"), attributes.get("units")
    if scale is None or units is None or not len(scale) == len(units) == len(axes):
        return {}
    sizes = {}
    for letter, size, unit in zip(axes, scale, units, strict=True):
        if str(unit) not in ("pixel", "dimensionless"):
            short = {"micrometer": "um", "arcsecond": "arcsec"}.get(str(unit)) or f"{unit:~}"
            sizes[letter] = (float(size), short)
    return sizes


def _spatial(header: Header, axes: str, rgb: bool) -> dict[str, Any]:  # noqa: FBT001
    shown = axes.rstrip("C") if rgb else axes
    sizes = [header.pixel_size.get(letter, (1.0, "pixel")) for letter in shown]
    return {
        "scale": [size for size, _ in sizes],
        "units": [unit for _, unit in sizes],
        "axis_labels": [letter.lower() for letter in shown],
    }


def _shared_metadata(header: Header) -> dict[str, Any]:
    """The header in words that other plugins understand."""
    plain: dict[str, Any] = {}
    if header.unit:
        plain["unit"] = header.unit
    if header.fits_header:
        plain["header"] = header.fits_header
    if header.channels:
        plain["channels"] = list(header.channels)
    return plain
