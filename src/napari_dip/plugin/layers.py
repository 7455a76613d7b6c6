"""Between layers and observations: axes, holes, places and metadata, translated once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray

from napari_dip.io import FileImage
from napari_dip.observation import Floats, Header, Observation
from napari_dip.result import Result

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

LayerData = tuple[Any, dict[str, Any], str]

KEY = "napari-dip"  # where a layer's metadata hold what is ours


@dataclass(frozen=True)
class Place:
    """Where and how a layer is shown, kept from the start of a run: the layer may go away."""

    name: str
    axes: str
    rgb: bool
    spatial: Mapping[str, Any]
    metadata: Mapping[str, Any]
    contrast_limits: tuple[float, float]
    colormap: Any
    white: float
    """The value that an RGB layer shows as white."""

    @classmethod
    def of(cls, layer: Image) -> Place:
        """The place of `layer` as it is now."""
        names = ("scale", "translate", "rotate", "shear", "units", "axis_labels")
        low, high = layer.contrast_limits
        return cls(
            name=layer.name,
            axes=axes_of(layer),
            rgb=layer.rgb,
            spatial={name: getattr(layer, name) for name in names},
            metadata={k: v for k, v in layer.metadata.items() if k != KEY},
            contrast_limits=(float(low), float(high)),
            colormap=None if layer.rgb else layer.colormap,
            white=np.iinfo(layer.dtype).max if np.issubdtype(layer.dtype, np.integer) else 1.0,
        )

    def image_options(self, suffix: str, **ours: Any) -> dict[str, Any]:
        """Arguments of `add_image` for a companion of the layer; `ours` go into its metadata."""
        options = {
            "name": f"{self.name} - {suffix}",
            "metadata": {**self.metadata, KEY: {"axes": self.axes, **ours}},
            "rgb": self.rgb,
            **self.spatial,
        }
        if not self.rgb:
            options |= {"contrast_limits": self.contrast_limits, "colormap": self.colormap}
        return options

    def shown(self, image: Floats) -> NDArray[Any]:
        """`image` as a layer shows it: colours need 0 to 1 for floats."""
        return np.clip(image / self.white, 0, 1) if self.rgb else image


def axes_of(layer: Layer) -> str:
    """The axis letters of a layer's pixels: what its reader said, else its axis labels, else a guess.

    Axes that nobody named count as T, C, Z from the right, so that nothing is mixed up: T and Z
    are restored frame by frame.
    """
    ours = layer.metadata.get(KEY, {})
    rgb = bool(getattr(layer, "rgb", False))
    count = layer.ndim + rgb
    if len(ours.get("axes", "")) == count:
        return str(ours["axes"])
    labels = [str(label).strip().upper()[:1] for label in layer.axis_labels][:-2]
    leading = "".join(labels)
    named = len(set(leading)) == len(leading) and set(leading) <= set("TCZ")
    if not named:
        leading = "TCZ"[: len(labels)] if len(labels) == 3 else "TZ"[2 - len(labels) :]
    return f"{leading}YX{'C' if rgb else ''}"


def observation_of(
    layer: Image, *, holes: Labels | None = None, sigma: Image | None = None
) -> Observation:
    """What a run needs from the layers, copied: they may change or go while it runs.

    Raises
    ------
    ObservationError
        If the layers do not fit each other, or there is nothing to restore.
    """
    return Observation.from_array(
        _pixels(layer),
        axes=axes_of(layer),
        holes=None if holes is None else _pixels(holes),
        sigma=None if sigma is None else _pixels(sigma),
        header=_header(layer),
    )


def layer_data(image: FileImage, path: str | os.PathLike[str]) -> list[LayerData]:
    """A file's image as layers: its pixels, and where it has them its noise and its holes."""
    array, axes, holes, sigma = image.array, image.axes, image.holes, image.sigma
    if not image.rgb and not axes.endswith("YX"):  # channels that are no colours become an axis
        order = [
            *(i for i, a in enumerate(axes) if a not in "YX"),
            axes.index("Y"),
            axes.index("X"),
        ]
        array, axes = array.transpose(order), "".join(axes[i] for i in order)
        holes = None if holes is None else holes.transpose(order)
    stem = Path(path).name if Path(path).suffix else str(path)
    name = f"{stem} {image.header.name}".strip()
    spatial = _spatial(image.header, axes, image.rgb)
    metadata = {KEY: {"axes": axes, "header": image.header}, **_plain(image.header)}
    layers: list[LayerData] = [
        (array, {"name": name, "metadata": metadata, "rgb": image.rgb, **spatial}, "image")
    ]
    if image.header.cards and np.isfinite(array).any():
        # What astronomers expect: from the sky's noise to what is a little brighter than it.
        low, high = ZScaleInterval().get_limits(array if holes is None else array[~holes])
        if high > low:
            layers[0][1]["contrast_limits"] = (float(low), float(high))
    if sigma is not None:
        about = {"name": f"{name} - noise", "metadata": {KEY: {"axes": axes}}, "visible": False}
        layers.append((sigma, {**about, **spatial}, "image"))
    if holes is not None:
        marked = holes.any(axis=-1) if image.rgb else holes
        about = {"name": f"{name} - holes", "opacity": 0.5, "metadata": {}}
        layers.append((marked.astype(np.uint8), {**about, **spatial}, "labels"))
    return layers


def picture_of(data: NDArray[Any], attributes: Mapping[str, Any]) -> tuple[FileImage, Mapping[str, Any]]:
    """A layer's data and attributes as an image to write, and how it was made, if we made it."""
    ours = attributes.get("metadata", {}).get(KEY, {})
    result: Result | None = ours.get("result")
    header: Header = ours.get("header") or (result.header if result else None) or Header()
    rgb = bool(attributes.get("rgb", False))
    axes = str(ours.get("axes", ""))
    if len(axes) != data.ndim:
        axes = ("TCZ"[: data.ndim - 2 - rgb] + "YX" + "C" * rgb)[-data.ndim :]
    if not header.pixel_size:
        header = replace(header, pixel_size=_sizes(attributes, axes.rstrip("C") if rgb else axes))
    if result is not None and result.image.shape == data.shape:
        image = result.image if rgb else data  # colours are shown from 0 to 1, and kept as they are
        return FileImage(image, axes, flagged=result.filled, header=header), result.provenance
    return FileImage(data, axes, header=header, rgb=rgb), {}


def _pixels(layer: Layer) -> NDArray[Any]:
    """A copy of the layer's pixels at full resolution."""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    return np.array(data)


def _header(layer: Image) -> Header:
    header = layer.metadata.get(KEY, {}).get("header")
    if isinstance(header, Header):
        return header
    axes = axes_of(layer)
    about = {"scale": layer.scale, "units": layer.units}
    source = layer.source.path or ""
    return Header(
        path=str(source),
        name=layer.name,
        pixel_size=_sizes(about, axes.rstrip("C") if layer.rgb else axes),
    )


def _sizes(attributes: Mapping[str, Any], axes: str) -> dict[str, tuple[float, str]]:
    """Pixel sizes from a layer's scale and units; nothing where the unit is still the pixel."""
    scale, units = attributes.get("scale"), attributes.get("units")
    if scale is None or units is None or not len(scale) == len(units) == len(axes):
        return {}
    names = {"micrometer": "um", "arcsecond": "arcsec", "second": "s", "nanometer": "nm"}
    sizes = {}
    for letter, size, unit in zip(axes, scale, units, strict=True):
        if str(unit) != "pixel":
            sizes[letter] = (float(size), names.get(str(unit), str(unit)))
    return sizes


def _spatial(header: Header, axes: str, rgb: bool) -> dict[str, Any]:  # noqa: FBT001
    shown = axes.rstrip("C") if rgb else axes
    sizes = [header.pixel_size.get(letter, (1.0, "pixel")) for letter in shown]
    return {
        "scale": [size for size, _ in sizes],
        "units": [unit for _, unit in sizes],
        "axis_labels": [letter.lower() for letter in shown],
    }


def _plain(header: Header) -> dict[str, Any]:
    """The header in words that other plugins understand."""
    plain: dict[str, Any] = {}
    if header.unit:
        plain["unit"] = header.unit
    if header.cards:
        plain["header"] = header.cards
    if header.channels:
        plain["channels"] = list(header.channels)
    return plain
