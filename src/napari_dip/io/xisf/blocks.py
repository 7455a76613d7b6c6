"""The data blocks of a file: where they lie, and how they are packed."""

from __future__ import annotations

import base64
import hashlib
import warnings
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError, ReadWarning

NAMESPACE = "{http://www.pixinsight.com/xisf}"
_XML = ElementTree.Element


def read_block(path: Path, element: _XML, size: int) -> bytes:
    """Return the bytes of a data block, which unpack to `size`.

    Raises
    ------
    ReadError
        If they lie in another file, are packed in an unknown way, or there is no room for them.
    """
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
    if not digest or kind not in hashlib.algorithms_available:
        return
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
        return zlib.decompressobj().decompress(data, size)
    import imagecodecs

    if name in ("lz4", "lz4hc"):
        return bytes(imagecodecs.lz4_decode(data, out=size))
    if name == "zstd":
        return bytes(imagecodecs.zstd_decode(data, out=size))
    raise ReadError(f"{path}: blocks packed by {name} are not read; zlib, lz4, lz4hc and zstd are")
