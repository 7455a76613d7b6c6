"""The functions that the manifest names for Open, Save and Open Sample."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.header import Header
from napari_dip.io import KSPACE_SUFFIXES, ImageData, read_images, write_image
from napari_dip.plugin.layers.image_data import LayerData, image_from_layer, layer_data

if TYPE_CHECKING:
    from napari_dip.datasets import CardiacCine, MovingHead

Path = str | os.PathLike[str]


def get_reader(path: Path | list[Path]) -> Callable[[Path | list[Path]], list[LayerData]] | None:
    """Return the reader of FITS, TIFF and k-space files; None for arrays that are not k-space.

    Several paths are opened one after another.
    """
    paths = path if isinstance(path, list) else [path]
    return read_layers if all(map(_can_read, paths)) else None


def _can_read(path: Path) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in KSPACE_SUFFIXES:
        return True
    from napari_dip.io.mri.arrays import is_kspace

    return is_kspace(path)


def read_layers(path: Path | list[Path]) -> list[LayerData]:
    """Return every image of the files as layers: its pixels, noise, quality flags and mask."""
    paths = path if isinstance(path, list) else [path]
    return [layer for file in paths for image in read_images(file) for layer in layer_data(image, file)]


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save one image or labels layer as FITS or OME-TIFF, with its header and provenance."""
    image, provenance = image_from_layer(data, attributes)
    write_image(path, image, provenance, overwrite=True)  # napari has asked already
    return [path]


def write_imagej_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save one image layer as an ImageJ TIFF."""
    image, provenance = image_from_layer(data, attributes)
    write_image(path, image, provenance, overwrite=True, format="imagej")
    return [path]


def star_field_sample() -> list[LayerData]:
    """Return the sample *Simulated star field*: the image, its mask, and hidden the true image."""
    from napari_dip.datasets import star_field
    from napari_dip.io.fits.reader import hdu_images

    hdus = star_field()
    noisy = next(hdu_images(hdus))
    truth = ImageData(hdus["TRUTH"].data, "YX", header=noisy.header)
    return [*layer_data(noisy, "star field"), *_hidden(layer_data(truth, "truth"))]


def cell_sample() -> list[LayerData]:
    """Return the sample *Noisy cell with a scratch*: scikit-image's cell with photon noise."""
    from napari_dip.datasets import scratched_cell

    noisy, mask, _ = scratched_cell()
    return layer_data(ImageData(noisy, "YX", bad_mask=mask), "cell")


def cine_sample() -> list[LayerData]:
    """Return the sample *Beating heart, k-space*: undersampled twelvefold, with hidden coil maps."""
    from napari_dip.datasets import cardiac_cine

    return _kspace_sample("heart", cardiac_cine(), ("t", "y", "x"))


def moving_head_sample() -> list[LayerData]:
    """Return the sample *Moving head, k-space*: sixteen shots, with hidden coil maps and truth."""
    from napari_dip.datasets import moving_head

    return _kspace_sample("moving head", moving_head(), ("y", "x"))


def _kspace_sample(
    name: str, scan: CardiacCine | MovingHead, axis_labels: tuple[str, ...]
) -> list[LayerData]:
    from napari_dip.io.mri.arrays import kspace_image

    kspace, *mask = layer_data(kspace_image(scan.kspace, "", 0), name)
    coil_maps = layer_data(kspace_image(scan.maps, "", 1), name)
    truth = (np.abs(scan.truth), {"name": f"{name} truth", "axis_labels": axis_labels}, "image")
    return [kspace, *_hidden([*mask, *coil_maps, truth])]


def echoes_sample() -> list[LayerData]:
    """Return the sample *Head, eight echoes*: magnitude images with their echo times, and hidden the
    true T2.
    """
    from napari_dip.datasets import quantitative_head
    from napari_dip.physics.signals.t2 import EchoDecay

    times = tuple(round(0.012 * number, 3) for number in range(1, 9))
    head = quantitative_head(EchoDecay(echo_times=times), amplitude=1000, noise=20)
    images = ImageData(head.images, "TYX", header=Header(protocol={"EchoTime": times}))
    truth = (head.value, {"name": "head true T2", "axis_labels": ("y", "x")}, "image")
    return [*layer_data(images, "head"), *_hidden([truth])]


def _hidden(layers: list[LayerData]) -> list[LayerData]:
    return [(data, {**meta, "visible": False}, kind) for data, meta, kind in layers]
