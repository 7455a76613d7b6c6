"""A check of what a TIFF file declares, before tifffile unpacks it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import tifffile

from napari_dip.core.errors import ReadError
from napari_dip.io.tiff.ome import ome

_MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
ORIENTATION = 274  # tag: where the first row and column are seen
_MAX_TAGS = 4096
_MAX_XML_CHARS = 16 * 2**20


@contextmanager
def open_tiff(path: Path) -> Iterator[Any]:
    """Open the `tifffile.TiffFile` at `path`, with the other files of the same image in its folder.

    Raises
    ------
    ReadError
        If it is no TIFF file, or promises far more planes than there are.
    """
    with path.open("rb") as file:
        if (magic := file.read(4)) not in _MAGIC:
            raise ReadError(f"{path} is no TIFF file: it does not begin with II or MM and its version")
        if (tags := _count_tags(file, magic)) > _MAX_TAGS:
            raise ReadError(
                f"{path} is broken: its first page has a suspicious number of tags, {tags:,}"
            )
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        if not len(tiff.pages):
            raise ReadError(f"{path} holds no image")
        trusted = _is_harmless(tiff)
        files = _files(path, tiff) if trusted else {path.name}
        if trusted:
            validate_tiff(path, tiff, len(files))
            if len(files) == 1:
                yield tiff
    if len(files) > 1:
        with tifffile.TiffFile(path, _multifile=True) as tiff:
            yield tiff
    elif not trusted:
        with tifffile.TiffFile(path, _multifile=False, is_ome=False) as tiff:
            yield tiff


def _count_tags(file: BinaryIO, magic: bytes) -> int:
    """The number of tags that the first page promises; 0 if there is none."""
    order: Literal["little", "big"] = "little" if magic.startswith(b"II") else "big"
    is_big = b"+" in magic
    file.seek(8 if is_big else 4)
    place = int.from_bytes(file.read(8 if is_big else 4), order)
    if not 8 <= place < 2**62:
        return 0
    file.seek(place)
    return int.from_bytes(file.read(8 if is_big else 2), order)


def _files(path: Path, tiff: Any) -> set[str]:
    """The names of the files that hold the planes of the image, or that of this file alone.

    Others are opened only if they are regular files in the same folder: a path in a file may point
    anywhere.
    """
    names = {str(uuid.get("FileName") or path.name) for uuid in ome(tiff).iterfind(".//{*}UUID")}
    for name in names:
        beside = path.parent / name
        if re.search(r"[/\\:]", name) or name in (".", "..") or (beside.exists() != beside.is_file()):
            return {path.name}
    return names | {path.name}


def _is_harmless(tiff: Any) -> bool:
    """Whether the XML of the first page, if any, is small and defines no entities."""
    text = str(tiff.pages[0].description or "")
    return len(text) <= _MAX_XML_CHARS and "<!DOCTYPE" not in text


def validate_tiff(path: Path, tiff: Any, files: int) -> None:
    """Refuse metadata with far more planes than the file has, before tifffile lists them."""
    for pixels in ome(tiff).iterfind("{*}Image/{*}Pixels"):
        sizes = [pixels.get(f"Size{letter}", "1") for letter in "ZCT"]
        if all(size.isdecimal() for size in sizes):
            validate_plane_count(path, math.prod(map(int, sizes)), files * len(tiff.pages))


def validate_plane_count(path: Path, promised: int, present: int) -> None:
    """Refuse an image of which nearly all planes are missing."""
    if promised > 10 * present + 100:
        raise ReadError(f"{path} promises {promised:,} planes and holds {present:,}; it is broken")
