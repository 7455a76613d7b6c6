"""TIFF in and out: OME, ImageJ and plain files, with pixel sizes, channel names and provenance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip import arrays
from napari_dip.errors import ReadError
from napari_dip.io.file_image import FileImage
from napari_dip.io.target import replacing
from napari_dip.observation import Flags, Header

_MICROMETRE = {"µm", "μm", r"\u00b5m", r"\u03bcm", "um", "micron", "microns", "micrometer"}
_MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
_MOST_XML = 16 * 2**20  # characters
_UNITS = {"nm", "mm", "cm", "m", "s", "ms", "min", "h"}


def tiff_images(path: Path) -> Iterator[FileImage]:
    """The series of a TIFF file, pyramids at full resolution; FILLED and UNCERT are about the last."""
    with _opened(path) as tiff:
        image: FileImage | None = None
        for number, one in enumerate(tiff.series):
            same_size = image is not None and image.array.shape == one.shape
            if image is not None and one.name == "FILLED":
                image = replace(image, flagged=one.asarray() != 0) if same_size else image
            elif image is not None and one.name == "UNCERT":
                image = replace(image, sigma=one.asarray()) if same_size else image
            else:
                if image is not None:
                    yield image
                image = _image(path, tiff, number, one)
        if image is not None:
            yield image


def tiff_provenance(path: Path) -> dict[str, Any]:
    """What our annotation in the OME-XML says of how it was made; empty where there is none."""
    with _opened(path) as tiff:
        entries = _ome(tiff).iterfind(".//{*}MapAnnotation//{*}M")
        notes = {str(entry.get("K")): entry.text or "" for entry in entries}
    if "napari-dip recipe" not in notes:
        return {}
    rest = json.loads(notes.get("napari-dip provenance", "{}"))
    return {"recipe": json.loads(notes["napari-dip recipe"]), **rest}


def write_tiff(path: Path, picture: FileImage, provenance: Mapping[str, Any]) -> None:
    """Write `picture` as OME-TIFF, with FILLED and UNCERT as further images where it has them."""
    header = picture.header
    colour = picture.rgb and picture.array.dtype == np.uint8
    order = [letter for letter in picture.axes if letter not in "YX" and not (colour and letter == "C")]
    order += ["Y", "X", "C"] if colour else ["Y", "X"]
    positions = [picture.axes.index(letter) for letter in order]
    axes = "".join(order)[:-1] + "S" if colour else "".join(order)
    metadata: dict[str, Any] = {"axes": axes, "Name": _legal(header.name) or "image"}
    for letter, (size, unit) in header.pixel_size.items():
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if unit in {*_UNITS, "um"}:  # OME knows no angles: those stay in the FITS header's note
            metadata |= {key: size, f"{key}Unit": "µm" if unit == "um" else unit}
    sizes = dict(zip(picture.axes, picture.array.shape, strict=True))
    if header.channels and len(header.channels) == sizes.get("C"):
        metadata["Channel"] = {"Name": [_legal(name) for name in header.channels]}
    notes = _notes(header, provenance)
    if notes:
        metadata["MapAnnotation"] = notes
    pixels = _storable(picture.array.transpose(positions))
    options = {"photometric": "rgb" if colour else "minisblack", "compression": "zlib"}
    big = pixels.nbytes * 1.25 > 2**32
    with (
        replacing(path) as unfinished,
        tifffile.TiffWriter(unfinished, ome=True, bigtiff=big) as tiff,
    ):
        tiff.write(pixels, metadata=metadata, **options)
        if provenance and picture.flagged is not None and picture.flagged.any():
            filled = picture.flagged.transpose(positions).astype(np.uint8)
            tiff.write(filled, metadata={"axes": axes, "Name": "FILLED"}, **options)
        if provenance and picture.sigma is not None:
            sigma = picture.sigma.transpose(positions)
            tiff.write(sigma, metadata={"axes": axes, "Name": "UNCERT"}, **options)


def _notes(header: Header, provenance: Mapping[str, Any]) -> dict[str, str]:
    """What the file remembers of where it came from, as OME key-value pairs."""
    notes = {}
    if provenance:
        rest = {name: value for name, value in provenance.items() if name != "recipe"}
        notes["napari-dip recipe"] = json.dumps(provenance["recipe"])
        notes["napari-dip provenance"] = json.dumps(rest)
    if header.description:
        notes["source ImageDescription"] = _legal(header.description)
    if header.cards:
        notes["source FITS header"] = header.cards
    return notes


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` in a type that OME has, with the same values."""
    kind = pixels.dtype
    if kind == np.float16:
        return pixels.astype(np.float32)
    if kind.kind in "iu" and kind.itemsize == 8:
        smaller = np.dtype(np.int32 if kind.kind == "i" else np.uint32)
        limits = np.iinfo(smaller)
        fits_in = pixels.size == 0 or (pixels.min() >= limits.min and pixels.max() <= limits.max)
        return pixels.astype(smaller if fits_in else np.float64)
    return np.ascontiguousarray(pixels)


def _legal(text: str) -> str:
    """`text` without the characters that XML forbids."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff"))


def _image(path: Path, tiff: Any, number: int, series: Any) -> FileImage:
    _check_planes(path, len(series.pages), sum(page is not None for page in series.pages))
    array, axes = _pixels(path, series), str(series.axes)
    if "S" in axes and int(series.keyframe.photometric) == 2:  # colours that are stored plane by plane
        array = np.moveaxis(array, axes.index("S"), -1)
        axes = axes.replace("S", "") + "S"
    # One letter an axis: samples are channels; an axis without a meaning (Q, I ...) is time, for
    # which frames are restored one by one and nothing is mixed up.
    letters = ""
    for letter in axes.replace("S", "C"):
        free = [spare for spare in "TZC" if spare not in letters + axes]
        known = letter in "TCZYX" and letter not in letters
        letters += letter if known else (free[0] if free else "?")
    if "?" in letters:
        raise ReadError(f"{path}: axes {axes} are more than time, channel, depth, Y and X")
    pixels = _ome_pixels(tiff, number)
    channels = tuple(name for c in (pixels if pixels is not None else ()) if (name := c.get("Name")))
    page = series.keyframe
    rgb = (
        axes.endswith("S")
        and array.shape[-1] in (3, 4)
        and array.dtype == np.uint8
        and int(page.photometric) in (2, 6)
    )
    header = Header(
        path=str(path),
        hdu=number,
        name=str(series.name or ""),
        pixel_size=_ome_sizes(pixels) if pixels is not None else _imagej_sizes(tiff, page),
        channels=channels,
        description=str(page.description or tiff.pages[0].description or ""),
    )
    return FileImage(
        array,
        letters,
        flagged=_missing_planes(series, array),
        rgb=rgb,
        header=header,
    )


def _missing_planes(series: Any, array: NDArray[Any]) -> Flags | None:
    """Planes that the metadata promise but the file lacks; tifffile fills them with zeros."""
    absent = [page is None for page in series.pages]
    if not any(absent):
        return None
    planes = np.zeros((len(absent), array.size // len(absent)), bool)
    planes[absent] = True
    return planes.reshape(array.shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        if file.read(4) not in _MAGIC:
            raise ReadError(f"{path} is no TIFF file: it does not begin with II or MM and its version")
    # Other files that an OME header names are not opened: a path in a file may lead anywhere.
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        if not len(tiff.pages):
            raise ReadError(f"{path} holds no image")
        trusted = _is_harmless(tiff)
        if trusted:
            _check_promises(path, tiff)
            yield tiff
    if not trusted:
        with tifffile.TiffFile(path, _multifile=False, is_ome=False) as tiff:
            yield tiff


def _is_harmless(tiff: Any) -> bool:
    """Whether the first page's XML, if it has any, is of a size to read and defines nothing itself."""
    text = str(tiff.pages[0].description or "")
    return len(text) <= _MOST_XML and "<!DOCTYPE" not in text


def _check_promises(path: Path, tiff: Any) -> None:
    """Refuse metadata that speak of far more planes than there are, before tifffile lists them."""
    for pixels in _ome(tiff).iterfind("{*}Image/{*}Pixels"):
        sizes = [pixels.get(f"Size{letter}", "1") for letter in "ZCT"]
        if all(size.isdecimal() for size in sizes):
            _check_planes(path, math.prod(map(int, sizes)), len(tiff.pages))


def _check_planes(path: Path, promised: int, present: int) -> None:
    if promised > 10 * present + 100:
        raise ReadError(f"{path} promises {promised:,} planes and holds {present:,}; it is broken")


def _pixels(path: Path, series: Any) -> NDArray[Any]:
    """All pixels of a series that is not larger than a file like this can be."""
    if 0 in series.shape or len(series.shape) < 2:
        sides = " x ".join(map(str, series.shape))
        raise ReadError(f"{path} holds no image: its pixels are {sides}, and two sides are needed")
    bits = int(series.keyframe.bitspersample)
    if bits > 64 and series.dtype.kind != "c":
        raise ReadError(f"{path}: pixels of {bits} bits cannot be read")
    size, stored = int(series.nbytes), path.stat().st_size
    if size > 1000 * stored and size > arrays.budget():
        raise ReadError(
            f"{path} would unpack to {size / 1e9:.3g} GB from {stored:,} bytes, and the memory has no"
            " room for that: it is broken, or a trap"
        )
    try:
        return np.asarray(series.asarray(out=arrays.empty(series.shape, series.dtype.newbyteorder("="))))
    except ValueError as error:
        cut = re.search(r"failed to read (\d+) bytes, got (\d+)", str(error))
        if cut is None:
            raise
        raise ReadError(
            f"{path} is cut off: {int(cut[2]):,} of {int(cut[1]):,} bytes of pixels are there; copy or"
            " download it again"
        ) from error


def _ome(tiff: Any) -> ElementTree.Element:
    """The OME-XML; an empty element where there is none, or none that can be read."""
    try:
        return ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        return ElementTree.Element("OME")


def _ome_pixels(tiff: Any, number: int) -> ElementTree.Element | None:
    images = _ome(tiff).findall("{*}Image")
    return images[number].find("{*}Pixels") if number < len(images) else None


def _ome_sizes(pixels: ElementTree.Element) -> dict[str, tuple[float, str]]:
    keys = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "Z": "PhysicalSizeZ", "T": "TimeIncrement"}
    sizes = {}
    for letter, key in keys.items():
        default = "s" if letter == "T" else "µm"
        if size := _size(pixels.get(key), pixels.get(f"{key}Unit", default)):
            sizes[letter] = size
    return sizes


def _imagej_sizes(tiff: Any, page: Any) -> dict[str, tuple[float, str]]:
    # TIFF's own resolution is how large to print; only ImageJ makes a calibration of it.
    said = tiff.imagej_metadata
    if not said:
        return {}
    unit = said.get("unit", "")
    sizes = {}
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        pixels, length = page.tags[tag].value if tag in page.tags else (0, 1)
        if pixels and (size := _size(length / pixels, unit)):
            sizes[letter] = size
    if size := _size(said.get("spacing"), unit):
        sizes["Z"] = size
    if size := _size(said.get("finterval"), said.get("tunit", "s")):
        sizes["T"] = size
    return sizes


def _size(value: Any, unit: str) -> tuple[float, str] | None:
    """A size that can be true, in a unit that napari knows; None for any other."""
    unit = str(unit).strip().lower()
    unit = "um" if unit in _MICROMETRE else {"sec": "s", "second": "s"}.get(unit, unit)
    if unit not in {*_UNITS, "um"} or value is None:
        return None
    try:
        size = float(value)
    except ValueError:
        return None
    return (size, unit) if np.isfinite(size) and size > 0 else None
