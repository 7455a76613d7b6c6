"""Conversion of layers to observations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError, ReadError, WriteError
from napari_dip.core.observation import Observation
from napari_dip.io import ImageData, write_image
from napari_dip.plugin.layers.metadata import (
    MASK,
    NOISE,
    axes_of,
    header_of,
    layer_data_units,
    related_layer,
    same_placement,
)

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
    """Return an observation with copies of the layers' data, which may change or go during a run.

    Parameters
    ----------
    layer : Image
        The image.
    axes : str, optional
        Its axes, where the user corrected them.
    mask : Labels, optional
        Nonzero where data are missing.
    sigma : Image, optional
        Standard deviation of the noise. [data units]
    auxiliary : mapping of str to Layer, optional
        Auxiliary data of the recipe, by name.
    middle_of : str
        Axes of which only the middle plane is used.
    part : tuple of slice, optional
        Part of the pixels that is used, of an image without other layers.

    Raises
    ------
    ObservationError
        If the layers do not match, or there is nothing to restore.
    """
    for other in (mask, sigma):
        if other is not None:
            _check_placement(other, layer)
    letters, shape = axes or axes_of(layer), layer_data_units(layer).shape
    sizes = {a: n for a, n in zip(letters, shape, strict=False) if a in middle_of}

    def pixels_of(source: Layer, axes: str) -> Any:
        pixels = layer_data_units(source)
        if source in (mask, sigma):
            pixels = _broadcast(pixels, shape, letters)
        pixels = pixels if part is None else pixels[part]
        return _middle_planes(pixels, axes, sizes) if sizes else pixels

    observation = Observation.from_array(
        pixels_of(layer, letters),
        axes=letters,
        mask=None if mask is None else pixels_of(mask, letters),
        sigma=None if sigma is None else pixels_of(sigma, letters),
        header=header_of(layer, axes),
    )
    for name, source in (auxiliary or {}).items():
        own = axes_of(source)
        observation = observation.with_auxiliary(name, pixels_of(source, own), axes=own)
    return observation


def observation_from_layers(
    layers: Sequence[Image],
    others: Iterable[Layer],
    *,
    mask: Labels | None = None,
    sigma: Image | None = None,
    auxiliary: Mapping[str, Layer] | None = None,
) -> Observation:
    """Return several layers as exposures of one scene along T.

    `mask` and `sigma` are those of the first layer; the masks and noise maps of the others are looked
    up in `others`, by the file they came from.

    Raises
    ------
    ObservationError
        If the layers differ in shape or scale, or there is nothing to restore.
    """
    images = []
    others = list(others)
    for number, layer in enumerate(layers):
        _check_same_scale(layer, layers[0])
        related = [mask, sigma]
        if number > 0:
            related = [related_layer(layer, others, role) for role in (MASK, NOISE)]
        pixels, axes = layer_data_units(layer), axes_of(layer)
        bad_mask, std = (
            None if source is None else _broadcast(layer_data_units(source), pixels.shape, axes)
            for source in related
        )
        header = replace(header_of(layer), path=layer.name)
        images.append(ImageData(pixels, axes, bad_mask=bad_mask, sigma=std, header=header))
    try:
        stacked = ImageData.stack(images)
    except ReadError as error:
        raise ObservationError(str(error)) from error
    header = replace(stacked.header, path=header_of(layers[0]).path)
    observation = replace(stacked, header=header).to_observation()
    for name, source in (auxiliary or {}).items():
        observation = observation.with_auxiliary(name, layer_data_units(source), axes=axes_of(source))
    return observation


def write_planes(layer: Image, mask: Labels | None, folder: Path) -> list[Path]:
    """Write each plane of a layer, along T and Z, to a TIFF file in `folder`, with NaN in the `mask`.

    Raises
    ------
    ObservationError
        If the layer cannot be restored.
    WriteError
        If the folder or a file cannot be written.
    """
    observation = observation_from_layer(layer, mask=mask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot create the folder {folder}: {error.strerror or error}") from error
    name = re.sub(r"[^\w .-]", "_", layer.name).removesuffix(".tif").removesuffix(".fits")
    axes = "".join(letter for letter in "CYX" if letter in observation.axes)
    paths = []
    for t, z in product(range(observation.y.shape[0]), range(observation.y.shape[2])):
        plane = observation.select_planes(slice(t, t + 1), slice(z, z + 1))
        path = folder / f"{name} T{t:04d} Z{z:04d}.tif"
        header = replace(observation.header, path="", hdu=0, name="", fits_header="", description="")
        image = ImageData(plane.to_input_axes(plane.y, axes), axes, header=header)
        write_image(path, image, overwrite=True)
        paths.append(path)
    return paths


def _middle_planes(pixels: Any, axes: str, sizes: Mapping[str, int]) -> Any:
    """Return the middle plane of those axes that are as long as the image's."""
    index = (
        slice(n // 2, n // 2 + 1) if sizes.get(a) == n else slice(None)
        for a, n in zip(axes, pixels.shape, strict=False)
    )
    return pixels[tuple(index)]


def _broadcast(pixels: NDArray[Any], shape: tuple[int, ...], axes: str) -> NDArray[Any]:
    """Broadcast a mask or noise map to an image's `shape`, aligned with its last axes as napari does.

    Colors, which napari counts as one pixel, share it.

    Raises
    ------
    ObservationError
        If the shapes do not match.
    """
    if pixels.ndim < len(shape) and axes.endswith("C"):
        pixels = pixels[..., None]
    try:
        return np.broadcast_to(np.asarray(pixels), shape)
    except ValueError as error:
        raise ObservationError(
            f"a mask or noise map of shape {pixels.shape} does not match an image of shape {shape}:"
            " choose another layer"
        ) from error


def _check_same_scale(layer: Image, first: Image) -> None:
    """Refuse exposures with different pixel sizes: only shifts between exposures are estimated."""
    if layer.ndim == first.ndim and not np.allclose(layer.scale, first.scale):
        raise ObservationError(
            f"the pixels of '{layer.name}' are not as large as those of '{first.name}': resample them to"
            " the same pixel size before combining"
        )


def _check_placement(other: Layer, layer: Image) -> None:
    """Refuse a layer that is displayed elsewhere than the image."""
    if not same_placement(other, layer):
        raise ObservationError(
            f"layer '{other.name}' lies elsewhere than '{layer.name}': their scale, translation"
            " or rotation differ; make them the same, or choose another layer"
        )
