"""TIFF in and out: OME, ImageJ and plain files, with pixel sizes, channel names and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip.errors import ReadError
from napari_dip.io.file_image import FileImage
from napari_dip.io.target import replacing
from napari_dip.observation import Flags, Header

TIFF_SUFFIXES = (".tif", ".tiff")

_MICROMETRE = {"µm", "μm", r"\u00b5m", r"\u03bcm", "um", "micron", "microns", "micrometer"}
_UNITS = {"nm", "mm", "cm", "m", "s", "ms", "min", "h"}


def tiff_images(path: Path) -> list[FileImage]:
    """The series of a TIFF file, pyramids at full resolution; FILLED marks the one before it."""
    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise ReadError(f"{path} holds no image")
        found: list[FileImage] = []
        for number, series in enumerate(tiff.series):
            if series.name == "FILLED" and found and series.shape == found[-1].array.shape:
                last = found.pop()
                filled = series.asarray() != 0
                found.append(
                    FileImage(last.array, last.axes, flagged=filled, rgb=last.rgb, header=last.header)
                )
                continue
            found.append(_image(path, tiff, number, series))
        return found


def tiff_recipe(path: Path) -> str:
    """The recipe's JSON from our annotation in the OME-XML; empty where there is none."""
    with tifffile.TiffFile(path) as tiff:
        if not tiff.ome_metadata:
            return ""
        for entry in ElementTree.fromstring(tiff.ome_metadata).iterfind(".//{*}MapAnnotation//{*}M"):
            if entry.get("K") == "napari-dip recipe":
                return entry.text or ""
    return ""


def write_tiff(path: Path, picture: FileImage, provenance: Mapping[str, Any]) -> None:
    """Write `picture` as OME-TIFF, with FILLED as a second image where pixels were filled."""
    header = picture.header
    order = [*(letter for letter in picture.axes if letter not in "YX"), "Y", "X"]
    positions = [picture.axes.index(letter) for letter in order]
    axes = "".join(order)
    metadata: dict[str, Any] = {"axes": axes, "Name": header.name or "image"}
    for letter, (size, unit) in header.pixel_size.items():
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        metadata |= {key: size, f"{key}Unit": "µm" if unit == "um" else unit}
    sizes = dict(zip(picture.axes, picture.array.shape, strict=True))
    if header.channels and len(header.channels) == sizes.get("C"):
        metadata["Channel"] = {"Name": list(header.channels)}
    notes = _notes(header, provenance)
    if notes:
        metadata["MapAnnotation"] = notes
    pixels = _storable(picture.array.transpose(positions))
    options = {"photometric": "minisblack", "compression": "zlib"}
    big = pixels.nbytes * 1.25 > 2**32
    with (
        replacing(path) as unfinished,
        tifffile.TiffWriter(unfinished, ome=True, bigtiff=big) as tiff,
    ):
        tiff.write(pixels, metadata=metadata, **options)
        if provenance and picture.flagged is not None and picture.flagged.any():
            filled = picture.flagged.transpose(positions).astype(np.uint8)
            tiff.write(filled, metadata={"axes": axes, "Name": "FILLED"}, **options)


def _notes(header: Header, provenance: Mapping[str, Any]) -> dict[str, str]:
    """What the file remembers of where it came from, as OME key-value pairs."""
    notes = {}
    if provenance:
        rest = {name: value for name, value in provenance.items() if name != "recipe"}
        notes["napari-dip recipe"] = json.dumps(provenance["recipe"])
        notes["napari-dip provenance"] = json.dumps(rest)
    if header.description:
        notes["source ImageDescription"] = header.description
    if header.cards:
        notes["source FITS header"] = header.cards
    return notes


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` in a type that OME has."""
    replaced = {"b": np.uint8, "e": np.float32, "l": np.int32, "L": np.uint32}
    return np.ascontiguousarray(pixels, replaced.get(pixels.dtype.char, pixels.dtype))


def _image(path: Path, tiff: Any, number: int, series: Any) -> FileImage:
    array = series.asarray()
    # One letter an axis: samples are channels; an axis without a meaning (Q, I ...) is time, for
    # which frames are restored one by one and nothing is mixed up.
    letters = ""
    for letter in series.axes.replace("S", "C"):
        free = [spare for spare in "TZC" if spare not in letters + series.axes]
        known = letter in "TCZYX" and letter not in letters
        letters += letter if known else (free[0] if free else "?")
    if "?" in letters:
        raise ReadError(f"{path}: axes {series.axes} are more than time, channel, depth, Y and X")
    pixels = _ome_pixels(tiff, number)
    channels = tuple(name for c in (pixels if pixels is not None else ()) if (name := c.get("Name")))
    page = series.keyframe
    rgb = (
        series.axes.endswith("S")
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
        array.astype(array.dtype.newbyteorder("="), copy=False),
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


def _ome_pixels(tiff: Any, number: int) -> ElementTree.Element | None:
    if not tiff.ome_metadata:
        return None
    images = ElementTree.fromstring(tiff.ome_metadata).findall("{*}Image")
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
    unit = unit.strip().lower()
    unit = "um" if unit in _MICROMETRE else {"sec": "s", "second": "s"}.get(unit, unit)
    if unit not in {*_UNITS, "um"} or value is None:
        return None
    size = float(value)
    return (size, unit) if np.isfinite(size) and size > 0 else None
