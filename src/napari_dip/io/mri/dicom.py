"""DICOM in: one image of a series, with the numbers of its acquisition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.core.errors import ReadError
from napari_dip.core.header import Header
from napari_dip.io.formats import describe_missing_package
from napari_dip.io.image import ImageData

PROTOCOL = {  # the name in BIDS, the keyword in DICOM, and what one of its units is there
    "EchoTime": ("EchoTime", 1e-3),
    "InversionTime": ("InversionTime", 1e-3),
    "RepetitionTimeExcitation": ("RepetitionTime", 1e-3),
    "FlipAngle": ("FlipAngle", 1.0),
    "bval": ("DiffusionBValue", 1.0),
}


def dicom_images(path: Path) -> Iterator[ImageData]:
    """Yield the image of a DICOM file, (Y, X), or (Z, Y, X) of several frames.

    Raises
    ------
    ReadError
        If it has no pixels, or colors.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ReadError(describe_missing_package(path, "DICOM", "mri")) from error
    data = pydicom.dcmread(path)
    if "PixelData" not in data:
        raise ReadError(f"{path} has no pixels")
    if int(data.get("SamplesPerPixel", 1)) > 1:
        raise ReadError(f"{path} has colors, and is no measurement")
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    pixels = data.pixel_array
    if (slope, intercept) != (1, 0):
        pixels = (slope * pixels.astype(float) + intercept).astype(np.float32)
    axes = "YX" if pixels.ndim == 2 else "ZYX"
    yield ImageData(
        pixels,
        axes,
        header=Header(
            path=str(path),
            name=str(data.get("SeriesDescription", "")),
            pixel_size={letter: size for letter, size in _sizes(data).items() if letter in axes},
            protocol=_protocol(data),
        ),
    )


def _sizes(data: Any) -> dict[str, tuple[float, str]]:
    """The pixel sizes that the file has."""
    rows, columns = data.get("PixelSpacing") or (None, None)
    depth = data.get("SpacingBetweenSlices") or data.get("SliceThickness")
    found = {"Z": depth, "Y": rows, "X": columns}
    return {letter: (float(size), "mm") for letter, size in found.items() if size}


def _protocol(data: Any) -> dict[str, tuple[float, ...]]:
    """The numbers of the acquisition, by their names in BIDS."""
    values = {name: (data.get(keyword), scale) for name, (keyword, scale) in PROTOCOL.items()}
    return {
        name: (float(value) * scale,)
        for name, (value, scale) in values.items()
        if value not in (None, "")
    }
