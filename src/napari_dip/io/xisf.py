"""XISF in and out, the format of PixInsight: images with FITS keywords in one file.

Written from the public specification, XISF 1.0 (Pleiades Astrophoto), https://pixinsight.com/xisf.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError, ReadWarning, WriteError
from napari_dip.core.header import Header
from napari_dip.io.atomic import atomic_write
from napari_dip.io.fits.cards import parse_cards
from napari_dip.io.image import ImageData

SIGNATURE, START = b"XISF0100", 16
NAMESPACE = "{http://www.pixinsight.com/xisf}"
PROVENANCE = "NapariDip:Provenance"
FILLED, UNCERTAINTY, RESIDUAL = BYPRODUCTS = "FILLED", "UNCERT", "RESIDUAL"
BLOCK_BYTES = 4096  # to which attached blocks are aligned
TYPES = {
    "UInt8": np.uint8, "UInt16": np.uint16, "UInt32": np.uint32, "UInt64": np.uint64,
    "Float32": np.float32, "Float64": np.float64,
}  # fmt: skip
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
        if image.bad_mask is not None and image.bad_mask.any():
            planes[FILLED] = image.bad_mask.astype(np.uint8), image.axes
        if image.sigma is not None:
            planes[UNCERTAINTY] = image.sigma, image.axes
        if image.residual is not None:
            planes[RESIDUAL] = image.residual, image.residual_axes
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
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        file.write(_with_locations(root, blocks))
        for block in blocks:
            file.write(bytes(-file.tell() % BLOCK_BYTES))
            file.write(block)


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
    order = ">" if element.get("byteOrder") == "big" else "<"
    dtype = np.dtype(kind).newbyteorder(order)
    width, height = sides
    size = width * height * channels * dtype.itemsize
    interleaved = element.get("pixelStorage", "Planar").lower() == "normal"
    shape = (height, width, channels) if interleaved else (channels, height, width)
    data = _block(path, element, size)
    if len(data) != size:
        raise ReadError(f"{path} is cut off: {len(data):,} of {size:,} bytes of pixels are there")
    pixels = np.frombuffer(data, dtype).reshape(shape).astype(kind)
    pixels = np.moveaxis(pixels, -1, 0) if interleaved else pixels
    return pixels[0] if channels == 1 else pixels


def _block(path: Path, element: _XML, size: int) -> bytes:
    """The bytes of a data block, which unpack to `size`."""
    if size > arrays.unpacked_limit_bytes(path.stat().st_size):
        raise ReadError(f"{path}: an image would take {size / 1e9:.3g} GB, more than there is room for")
    where = element.get("location", "").split(":")
    if where[0] == "attachment":
        with path.open("rb") as file:
            file.seek(int(where[1]))
            data = file.read(int(where[2]))
    elif where[0] in ("inline", "embedded"):
        inside = element.find(f"{NAMESPACE}Data")
        if where[0] == "embedded" and inside is not None:
            element, where = inside, ["", inside.get("encoding", "")]
        text = (element.text or "").strip()
        data = bytes.fromhex(text) if where[1] == "hex" else base64.b64decode(text)
    else:
        raise ReadError(f"{path}: its pixels lie in another file, which is not read")
    _check(path, element, data)
    return _unpacked(path, element, data)


def _check(path: Path, element: _XML, data: bytes) -> None:
    """Warn of a wrong checksum."""
    name, _, digest = element.get("checksum", "").partition(":")
    kind = name.replace("sha-1", "sha1").replace("sha-", "sha").replace("sha3-", "sha3_")
    if digest and kind in hashlib.algorithms_available:
        if hashlib.new(kind, data).hexdigest() != digest.lower():
            text = f"{path}: the checksum of an image is wrong: it was changed or damaged"
            warnings.warn(text, ReadWarning, stacklevel=4)


def _unpacked(path: Path, element: _XML, data: bytes) -> bytes:
    """A block without its compression, whose parts may be packed separately."""
    codec, *numbers = element.get("compression", "").split(":")
    if not codec:
        return data
    name, _, shuffled = codec.partition("+")
    parts = [
        tuple(map(int, part.split(","))) for part in element.get("subblocks", "").split(":") if part
    ]
    unpacked, start = b"", 0
    for packed_size, full_size in parts or [(len(data), int(numbers[0]))]:
        unpacked += _decode(path, name, data[start : start + packed_size], full_size)
        start += packed_size
    if shuffled != "sh":
        return unpacked
    item = int(numbers[1])
    count = len(unpacked) // item
    rows = np.frombuffer(unpacked[: count * item], np.uint8).reshape(item, count)
    return rows.T.tobytes() + unpacked[count * item :]


def _decode(path: Path, name: str, data: bytes, size: int) -> bytes:
    if name == "zlib":
        return zlib.decompress(data)
    import imagecodecs

    if name in ("lz4", "lz4hc"):
        return bytes(imagecodecs.lz4_decode(data, out=size))
    if name == "zstd":
        return bytes(imagecodecs.zstd_decode(data))
    raise ReadError(f"{path}: blocks packed by {name} are not read; zlib, lz4, lz4hc and zstd are")


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
    if kind.startswith("Float"):
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        element.set("bounds", f"{low!r}:{high!r}")
    return element, block


def _with_locations(root: _XML, blocks: list[bytes]) -> bytes:
    """The signature and the header, in which each image says where its block is."""
    longest = "attachment:" + ":".join(["9" * 15] * 2)
    for element in root:
        element.set("location", longest)
    position = START + len(ElementTree.tostring(root, "utf-8", xml_declaration=True))
    for element, block in zip(root, blocks, strict=True):
        position += -position % BLOCK_BYTES
        element.set("location", f"attachment:{position}:{len(block)}")
        position += len(block)
    text = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    first = int(root[0].get("location", "").split(":")[1])
    return (SIGNATURE + struct.pack("<II", len(text), 0) + text).ljust(first, b"\0")
