"""XISF out: an image with its FITS keywords, and what belongs to it."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from astropy.io import fits

from napari_dip.core.errors import WriteError
from napari_dip.core.header import Header
from napari_dip.io.atomic import atomic_write
from napari_dip.io.fits.cards import parse_cards
from napari_dip.io.image import ImageData
from napari_dip.io.xisf.blocks import NAMESPACE
from napari_dip.io.xisf.reader import ORIENTATIONS, PROVENANCE, SIGNATURE, TYPES

START = 16  # of the XML in the file [byte]
BLOCK_BYTES = 4096  # to which attached blocks are aligned
_XML = ElementTree.Element


def write_xisf(path: Path, image: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `image` with its FITS keywords, and FILLED, UNCERT and RESIDUAL as further images.

    Raises
    ------
    WriteError
        If it has times or depths.
    """
    if set(image.axes) - set("CYX"):
        raise WriteError(f"{path}: XISF has no times and depths; write .fits, .ome.tif or .zarr")
    planes = {image.header.name or "image": (image.array, image.axes)}
    if provenance:
        planes |= {one.name: (one.values, one.axes) for one in image.byproducts()}
    root = _XML("xisf", version="1.0", xmlns=NAMESPACE.strip("{}"))
    blocks = []
    for number, (name, (array, axes)) in enumerate(planes.items()):
        element, block = _image_element(name, array, axes, image)
        blocks.append(block)
        root.append(element)
        if number == 0:
            element.extend(_keywords(image.header))
            if provenance:
                note = ElementTree.SubElement(element, "Property", id=PROVENANCE, type="String")
                note.text = json.dumps(dict(provenance))
    about = ElementTree.SubElement(root, "Metadata")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for name, kind, text in (
        ("CreationTime", "TimePoint", now),
        ("CreatorApplication", "String", f"napari-dip {version('napari-dip')}"),
    ):
        ElementTree.SubElement(about, "Property", id=f"XISF:{name}", type=kind).text = text
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        file.write(_with_locations(root, blocks))
        for block in blocks:
            file.write(bytes(-file.tell() % BLOCK_BYTES))
            file.write(block)


def _keywords(header: Header) -> Iterator[_XML]:
    """The cards of a FITS header, as elements."""
    for card in parse_cards(header.fits_header).cards if header.fits_header else ():
        if card.keyword in ("COMMENT", "HISTORY", ""):
            yield _XML("FITSKeyword", name=card.keyword, value="", comment=str(card.value))
            continue
        value = "" if isinstance(card.value, fits.card.Undefined) else card.value
        if isinstance(value, str):
            text = "'{}'".format(value.replace("'", "''"))
        else:
            text = {True: "T", False: "F"}[value] if isinstance(value, bool) else str(value)
        yield _XML("FITSKeyword", name=card.keyword, value=text, comment=card.comment or "")


def _image_element(name: str, array: Any, axes: str, image: ImageData) -> tuple[_XML, bytes]:
    """The element of an image without its location, and its packed pixels."""
    order = [axes.index(letter) for letter in "CYX" if letter in axes]
    pixels = np.asarray(array).transpose(order)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    kind = next((k for k, t in TYPES.items() if pixels.dtype == t), "Float32")
    pixels = np.ascontiguousarray(pixels, np.dtype(TYPES[kind]).newbyteorder("<"))
    channels, height, width = pixels.shape
    item = pixels.dtype.itemsize
    shuffled = np.frombuffer(pixels.tobytes(), np.uint8).reshape(-1, item).T.tobytes()
    block = zlib.compress(shuffled)
    is_color = channels == 3 and (image.rgb or image.header.channels == ("R", "G", "B"))
    element = _XML(
        "Image",
        id=name if name.isidentifier() else "image",
        geometry=f"{width}:{height}:{channels}",
        sampleFormat=kind,
        colorSpace="RGB" if is_color else "Gray",
        compression=f"zlib+sh:{pixels.nbytes}:{item}",
        checksum=f"sha1:{hashlib.sha1(block, usedforsecurity=False).hexdigest()}",
    )
    turn = {n: name for name, n in ORIENTATIONS.items()}.get(image.header.orientation, "0")
    if turn != "0":
        element.set("orientation", turn)
    if kind.startswith("Float"):
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        element.set("bounds", f"{low!r}:{high!r}")
    return element, block


def _with_locations(root: _XML, blocks: list[bytes]) -> bytes:
    """The signature and the header, in which each image says where its block is."""
    longest = "attachment:" + ":".join(["9" * 15] * 2)
    images = root.findall("Image")
    for element in images:
        element.set("location", longest)
    position = START + len(ElementTree.tostring(root, "utf-8", xml_declaration=True))
    for element, block in zip(images, blocks, strict=True):
        position += -position % BLOCK_BYTES
        element.set("location", f"attachment:{position}:{len(block)}")
        position += len(block)
    text = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    first = int(images[0].get("location", "").split(":")[1])
    start: bytes = SIGNATURE + struct.pack("<II", len(text), 0) + text
    return start.ljust(first, b"\0")
