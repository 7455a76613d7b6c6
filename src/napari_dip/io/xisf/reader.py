"""XISF in: images with FITS keywords."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from napari_dip.core.errors import ReadError
from napari_dip.core.header import BOTTOM_LEFT, TOP_LEFT, Header
from napari_dip.io.fits.cards import parse_cards
from napari_dip.io.image import ImageData
from napari_dip.io.xisf.blocks import NAMESPACE, read_block

SIGNATURE = b"XISF0100"
PROVENANCE = "NapariDip:Provenance"
FILLED, UNCERTAINTY, RESIDUAL = BYPRODUCTS = "FILLED", "UNCERT", "RESIDUAL"
TYPES = {
    "UInt8": np.uint8, "UInt16": np.uint16, "UInt32": np.uint32, "UInt64": np.uint64,
    "Float32": np.float32, "Float64": np.float64,
}  # fmt: skip
ORIENTATIONS = {"0": TOP_LEFT, "180;flip": BOTTOM_LEFT}  # flip: left and right
_XML = ElementTree.Element


def xisf_images(path: Path) -> Iterator[ImageData]:
    """Yield the images of a monolithic XISF file; FILLED, UNCERT and RESIDUAL belong to the one before.

    Raises
    ------
    ReadError
        If it is no such file, or an image has more than two dimensions.
    """
    root = _header(path)
    found = [(element.get("id", ""), element) for element in root.iter(f"{NAMESPACE}Image")]
    names = [name or str(n) for n, (name, _) in enumerate(found) if name not in BYPRODUCTS]
    image: ImageData | None = None
    for number, (name, element) in enumerate(found):
        pixels = _pixels(path, element)
        is_same = image is not None and image.array.shape == pixels.shape
        if image is not None and name in BYPRODUCTS:
            if name == FILLED and is_same:
                image = replace(image, bad_mask=pixels != 0)
            elif name == UNCERTAINTY and is_same:
                image = replace(image, sigma=pixels)
            continue
        if image is not None:
            yield image
        others = tuple(other for other in names if other != (name or str(number)))
        image = replace(_image(path, element, number, pixels), others=others)
    if image is None:
        raise ReadError(f"{path} has no image")
    yield image


def xisf_provenance(path: Path) -> dict[str, Any]:
    """Return how a file was made; empty if other software has written it."""
    for element in _header(path).iter(f"{NAMESPACE}Property"):
        if element.get("id") == PROVENANCE:
            found: dict[str, Any] = json.loads(element.text or "{}")
            return found
    return {}


def _header(path: Path) -> _XML:
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            raise ReadError(f"{path} is no monolithic XISF file")
        (length,) = struct.unpack("<I", file.read(8)[:4])
        return ElementTree.fromstring(file.read(length).rstrip(b"\0"))


def _image(path: Path, element: _XML, number: int, pixels: NDArray[Any]) -> ImageData:
    header, axes = _fits_header(element), "YX" if pixels.ndim == 2 else "CYX"
    is_color = element.get("colorSpace") == "RGB" and axes == "CYX"
    channels = ("R", "G", "B", *(f"A{n}" for n in range(1, len(pixels) - 2))) if is_color else ()
    about = Header(
        path=str(path),
        hdu=number,
        name=element.get("id", ""),
        unit=str(header.get("BUNIT", "")),
        channels=channels,
        orientation=ORIENTATIONS.get(element.get("orientation", "0"), 0),
        fits_header=header.tostring(sep="\n", endcard=False, padding=False),
    )
    return ImageData(pixels, axes, header=about)


def _pixels(path: Path, element: _XML) -> NDArray[Any]:
    """The pixels of an image, (Y, X) or (C, Y, X)."""
    *sides, channels = (int(n) for n in element.get("geometry", "0:0").split(":"))
    kind = TYPES.get(element.get("sampleFormat", ""))
    if len(sides) != 2 or kind is None:
        raise ReadError(
            f"{path}: image '{element.get('id', '')}' has the geometry {element.get('geometry')} of"
            f" {element.get('sampleFormat')}; width:height:channels of {', '.join(TYPES)} can be read"
        )
    dtype = np.dtype(kind).newbyteorder(">" if element.get("byteOrder") == "big" else "<")
    width, height = sides
    size = width * height * channels * dtype.itemsize
    interleaved = element.get("pixelStorage", "Planar").lower() == "normal"
    shape = (height, width, channels) if interleaved else (channels, height, width)
    data = read_block(path, element, size)
    if len(data) != size:
        raise ReadError(f"{path} is cut off: {len(data):,} of {size:,} bytes of pixels are there")
    pixels = np.frombuffer(data, dtype).reshape(shape).astype(kind)
    pixels = np.moveaxis(pixels, -1, 0) if interleaved else pixels
    return pixels[0] if channels == 1 else pixels


def _fits_header(element: _XML) -> fits.Header:
    """The FITS keywords of an image."""
    lines = []
    for keyword in element.iter(f"{NAMESPACE}FITSKeyword"):
        name, value = keyword.get("name", ""), keyword.get("value", "")
        comment = keyword.get("comment", "")
        if name in ("COMMENT", "HISTORY", ""):
            lines.append(f"{name:<8}{comment or value}"[:80].ljust(80))
        else:
            line = f"{name:<8}= {value:>20}"
            if len(line) > 80:  # a text that goes on in further cards
                long = fits.Card(name, value.strip("'").replace("''", "'").rstrip()).image
                lines += [long[start : start + 80] for start in range(0, len(long), 80)]
            else:
                lines.append(f"{line} / {comment}"[:80].ljust(80))
    return parse_cards("\n".join(lines))
