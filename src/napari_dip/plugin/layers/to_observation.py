"""From layers to observations: what a run is given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError, ReadError, WriteError
from napari_dip.core.observation import Observation
from napari_dip.io import ImageData, write_image
from napari_dip.plugin.layers.metadata import axes_of, header_of, layer_data_units, related_layer

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer


def observation_from_layer(
    layer: Image,
    *,
    axes: str | None = None,
    mask: Labels | None = None,
    sigma: Image | None = None,
    auxiliary: Mapping[str, Layer] | None = None,
    middle_of: str = "",
    part: tuple[slice, ...] | None = None,
) -> Observation:
    """What a run needs from the layers, copied: they may change or go while it runs.

    `axes` are the layer's where the person knows better than its file; of those in `middle_of`, only
    the plane in the middle is taken. `part` is what is taken of an image without companions.

    Raises
    ------
    ObservationError
        If the layers do not fit each other, or there is nothing to restore.
    """
    for companion in (mask, sigma):
        if companion is not None:
            _check_placement(companion, layer)
    letters, pixels = axes or axes_of(layer), layer_data_units(layer)
    sizes = {a: n for a, n in zip(letters, pixels.shape, strict=False) if a in middle_of}

    def taken(one: Layer, own: str) -> Any:
        pixels = layer_data_units(one) if part is None else layer_data_units(one)[part]
        return _middle(pixels, own, sizes) if sizes else pixels

    observation = Observation.from_array(
        taken(layer, letters),
        axes=letters,
        mask=None if mask is None else taken(mask, letters),
        sigma=None if sigma is None else taken(sigma, letters),
        header=header_of(layer, axes),
    )
    for name, extra in (auxiliary or {}).items():
        own = axes_of(extra)
        observation = observation.with_auxiliary(name, taken(extra, own), axes=own)
    return observation


def _middle(pixels: Any, axes: str, sizes: Mapping[str, int]) -> Any:
    """The plane in the middle of the axes that are as long as the image's."""
    found = (
        slice(n // 2, n // 2 + 1) if sizes.get(a) == n else slice(None)
        for a, n in zip(axes, pixels.shape, strict=False)
    )
    return pixels[tuple(found)]


def observation_from_layers(
    layers: Sequence[Image],
    others: Iterable[Layer],
    *,
    mask: Labels | None = None,
    sigma: Image | None = None,
    auxiliary: Mapping[str, Layer] | None = None,
) -> Observation:
    """Several layers as exposures of one scene along T.

    `holes` and `sigma` are the first one's; the others have those of their own file.

    Raises
    ------
    ObservationError
        If they differ in shape or in scale, or there is nothing to restore.
    """
    images = []
    others = list(others)
    for number, layer in enumerate(layers):
        _check_same_pixels(layer, layers[0])
        found = [mask, sigma] if number == 0 else []
        found = found or [related_layer(layer, others, role) for role in ("holes", "noise")]
        pixels, axes = layer_data_units(layer), axes_of(layer)
        flagged, deviation = (
            None if one is None else _broadcast(layer_data_units(one), pixels.shape, axes)
            for one in found
        )
        header = replace(header_of(layer), path=layer.name)
        image = ImageData(pixels, axes, bad_mask=flagged, sigma=deviation, header=header)
        images.append(image)
    try:
        stacked = ImageData.stack(images)
    except ReadError as error:
        raise ObservationError(str(error)) from error
    observation = replace(stacked, header=header_of(layers[0])).to_observation()
    for name, extra in (auxiliary or {}).items():
        observation = observation.with_auxiliary(name, layer_data_units(extra), axes=axes_of(extra))
    return observation


def write_frames(layer: Image, mask: Labels | None, folder: Path) -> list[Path]:
    """Each frame of a layer, along T and Z, as a TIFF file in `folder`, NaN in its `holes`.

    Raises
    ------
    ObservationError
        If the layer cannot be restored as it is.
    WriteError
        If the folder cannot be written to.
    """
    observation = observation_from_layer(layer, mask=mask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be made: {error.strerror or error}") from error
    name = re.sub(r"[^\w .-]", "_", layer.name).removesuffix(".tif").removesuffix(".fits")
    kept = "".join(letter for letter in "CYX" if letter in observation.axes)
    written = []
    for (times, depths), frame in observation.iter_planes():
        path = folder / f"{name} T{times.start:04d} Z{depths.start:04d}.tif"
        header = replace(observation.header, path="", hdu=0, name="", fits_header="", description="")
        write_image(
            path, ImageData(frame.to_input_axes(frame.y, kept), kept, header=header), overwrite=True
        )
        written.append(path)
    return written


def _broadcast(companion: NDArray[Any], shape: tuple[int, ...], axes: str) -> NDArray[Any]:
    """`companion`, shared by all channels where it has none, as large as an image of `shape`.

    Raises
    ------
    ObservationError
        If it does not fit.
    """
    if companion.ndim < len(shape) and axes.endswith("C"):
        companion = companion[..., None]
    try:
        return np.broadcast_to(np.asarray(companion), shape)
    except ValueError as error:
        raise ObservationError(
            f"a holes or noise layer of shape {companion.shape} does not fit an image of {shape}"
        ) from error


def _check_same_pixels(layer: Image, first: Image) -> None:
    """Refuse exposures whose pixels are not of one size: only shifts between them are found."""
    if layer.ndim == first.ndim and not np.allclose(layer.scale, first.scale):
        raise ObservationError(
            f"the pixels of '{layer.name}' are not as large as those of '{first.name}': bring them to"
            " one scale before they are combined"
        )


def _check_placement(companion: Layer, layer: Image) -> None:
    """Refuse a layer of the image's size that is shown elsewhere: what is seen is what counts."""
    ndim = min(companion.ndim, layer.ndim)
    corners = np.array([np.zeros(ndim), np.ones(ndim)])
    seen = [
        [one.data_to_world(np.pad(corner, (one.ndim - ndim, 0)))[-ndim:] for corner in corners]
        for one in (companion, layer)
    ]
    if not np.allclose(seen[0], seen[1], rtol=1e-5, atol=1e-6):
        raise ObservationError(
            f"layer '{companion.name}' lies elsewhere than '{layer.name}': their scale, translation"
            " or rotation differ; make them the same, or choose another layer"
        )
