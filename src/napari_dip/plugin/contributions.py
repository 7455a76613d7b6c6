"""What napari's Open, Save and Open Sample call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from napari_dip.io import KSPACE_SUFFIXES, ImageData, read_images, write_image
from napari_dip.plugin.layers.metadata import LayerData, image_from_layer, layer_data

Path = str | os.PathLike[str]


def get_reader(path: Path | list[Path]) -> Callable[[Path | list[Path]], list[LayerData]] | None:
    """The reader for FITS, TIFF and k-space; None for arrays that are no k-space.

    Several paths open one after another.
    """
    paths = path if isinstance(path, list) else [path]
    return read_layers if all(map(_is_ours, paths)) else None


def _is_ours(path: Path) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in KSPACE_SUFFIXES:
        return True
    from napari_dip.io.mri.arrays import is_kspace

    return is_kspace(path)


def read_layers(path: Path | list[Path]) -> list[LayerData]:
    """Every image of the files as layers: pixels, noise and holes."""
    paths = path if isinstance(path, list) else [path]
    return [layer for one in paths for image in read_images(one) for layer in layer_data(image, one)]


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save one image or labels layer as FITS or OME-TIFF, with what its metadata say."""
    picture, provenance = image_from_layer(data, attributes)
    write_image(path, picture, provenance, overwrite=True)  # napari has asked already
    return [path]


def write_imagej_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save one image layer as ImageJ's own TIFF."""
    picture, provenance = image_from_layer(data, attributes)
    write_image(path, picture, provenance, overwrite=True, imagej=True)
    return [path]


def star_field_sample() -> list[LayerData]:
    """*File > Open Sample*: a simulated star field, its holes, and the truth."""
    from napari_dip.datasets import star_field
    from napari_dip.io.fits.reader import hdu_images

    hdus = star_field()
    noisy = next(hdu_images(hdus))
    truth = ImageData(hdus["TRUTH"].data, "YX", header=noisy.header)
    return [*layer_data(noisy, "star field"), *_hidden(layer_data(truth, "truth"))]


def cell_sample() -> list[LayerData]:
    """*File > Open Sample*: scikit-image's cell under photon noise, with a scratch to fill."""
    from napari_dip.datasets import scratched_cell

    noisy, mask, _ = scratched_cell()
    return layer_data(ImageData(noisy, "YX", bad_mask=mask), "cell")


def cine_sample() -> list[LayerData]:
    """*File > Open Sample*: the k-space of a beating heart, measured twelve times too sparsely."""
    from napari_dip.datasets import cardiac_cine
    from napari_dip.io.mri.arrays import kspace_image

    heart = cardiac_cine()
    kspace, *missing = layer_data(kspace_image(heart.kspace, "", 0), "heart")
    truth = (np.abs(heart.truth), {"name": "heart truth", "axis_labels": ("t", "y", "x")}, "image")
    return [kspace, *_hidden([*missing, *layer_data(kspace_image(heart.maps, "", 1), "heart"), truth])]


def _hidden(layers: list[LayerData]) -> list[LayerData]:
    return [(data, {**meta, "visible": False}, kind) for data, meta, kind in layers]
