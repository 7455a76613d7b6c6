"""TIFF out: OME, with the metadata of the source file; or ImageJ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip.core.errors import WriteError
from napari_dip.core.header import TOP_LEFT, Header
from napari_dip.core.units import convert
from napari_dip.io.atomic import atomic_write
from napari_dip.io.image import ImageData
from napari_dip.io.tiff.calibration import OME_SPELLINGS, UNITS
from napari_dip.io.tiff.ome import merge_source_ome, strip_illegal_xml
from napari_dip.io.tiff.scan import ORIENTATION

_RECIPE_KEY = "napari-dip recipe"


def write_tiff(path: Path, image: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `image` as OME-TIFF, with FILLED, UNCERT, RESIDUAL and maps as further images if it has
    them.

    Instrument, channels and people in the OME-XML of its source are kept; the text of any other source
    is in an annotation.
    """
    header = image.header
    color = image.rgb and image.array.dtype == np.uint8
    axes, positions = _order(image.axes, color=color)
    metadata: dict[str, Any] = {"axes": axes, "Name": strip_illegal_xml(header.name) or "image"}
    metadata |= _physical_sizes(header, image.axes)
    sizes = dict(zip(image.axes, image.array.shape, strict=True))
    if header.channels and len(header.channels) == sizes.get("C", 1):
        metadata["Channel"] = {"Name": [strip_illegal_xml(name) for name in header.channels]}
    if notes := _notes(header, provenance):
        metadata["MapAnnotation"] = notes
    pixels = _storable(image.array.transpose(positions))
    options = {"compression": "zlib", **_display_options(image, color=color)}
    byproducts = list(image.byproducts()) if provenance else []
    big = (pixels.nbytes + sum(one.values.nbytes for one in byproducts)) * 1.25 > 2**32
    with atomic_write(path) as unfinished:
        with tifffile.TiffWriter(unfinished, ome=True, bigtiff=big) as tiff:
            tiff.write(pixels, metadata=metadata, **options)
            for one in byproducts:
                letters, order = _order(one.axes, color=color)
                about = {"axes": letters, "Name": one.label, **_physical_sizes(header, one.axes)}
                tiff.write(one.values.transpose(order), metadata=about, **options)
        _merge_source_description(unfinished, header)


def _physical_sizes(header: Header, axes: str) -> dict[str, Any]:
    """The pixel sizes along `axes`, as OME names them; OME has no angles: these stay in the annotation
    of the FITS header.
    """
    found: dict[str, Any] = {}
    for letter, (size, unit) in header.pixel_size.items():
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if letter in axes and unit in UNITS:
            found |= {key: size, f"{key}Unit": OME_SPELLINGS.get(unit, unit)}
    return found


def write_imagej(path: Path, image: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `image` as an ImageJ hyperstack; how it was made is in its Info.

    Raises
    ------
    WriteError
        If its data type is none of ImageJ.
    """
    header, kind = image.header, image.array.dtype
    if kind not in (np.uint8, np.uint16, np.float32):
        raise WriteError(f"{path}: ImageJ has pixels of uint8, uint16 and float32, not of {kind}")
    color = image.rgb and kind == np.uint8
    axes = "".join(a for a in "TZCYX" if a in image.axes and not (color and a == "C"))
    axes += "C" if color else ""
    pixels = np.asarray(image.array.transpose([image.axes.index(letter) for letter in axes]))
    metadata: dict[str, Any] = {"axes": axes[:-1] + "S" if color else axes}
    size, resolution = header.pixel_size, None
    unit = size.get("X", (1, ""))[1]
    converted = {letter: convert(*size[letter], to=unit) for letter in "XYZ" if letter in size}
    lengths = {letter: length for letter, length in converted.items() if length}  # in one unit
    if {"X", "Y"} <= set(lengths):
        metadata["unit"] = unit
        resolution = (1 / lengths["X"], 1 / lengths["Y"])
        if "Z" in lengths:
            metadata["spacing"] = lengths["Z"]
    if "T" in size and (interval := convert(*size["T"], to="s")):
        metadata["finterval"] = interval
    if header.channels and axes.replace("C", "") in ("YX",):
        metadata["Labels"] = list(header.channels)
    if provenance:
        metadata["Info"] = json.dumps(_notes(Header(), provenance))
    with atomic_write(path) as unfinished:
        tifffile.imwrite(
            unfinished,
            pixels,
            imagej=True,
            resolution=resolution,
            metadata=metadata,
            **_display_options(image, color=color),
        )


def _display_options(image: ImageData, *, color: bool) -> dict[str, Any]:
    """What tifffile has to know of how the image is meant to be seen."""
    options: dict[str, Any] = {"photometric": "rgb" if color else "minisblack"}
    header = image.header
    if header.orientation not in (0, TOP_LEFT):
        options["extratags"] = [(ORIENTATION, "H", 1, header.orientation, True)]
    if header.icc_profile and (color or "C" not in image.axes):
        options["iccprofile"] = header.icc_profile
    return options


def _order(axes: str, *, color: bool) -> tuple[str, list[int]]:
    """The axes for tifffile, with S for colors, and the position of each in `axes`."""
    order = [letter for letter in axes if letter not in "YX" and not (color and letter == "C")]
    order += ["Y", "X", "C"] if color and "C" in axes else ["Y", "X"]
    named = "".join(order)[:-1] + "S" if color and "C" in axes else "".join(order)
    return named, [axes.index(letter) for letter in order]


def _merge_source_description(path: Path, header: Header) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        said = merge_source_ome(str(tiff.ome_metadata), header.description, header.hdu)
        if said is not None:
            tiff.pages[0].tags["ImageDescription"].overwrite(said.encode())


def _notes(header: Header, provenance: Mapping[str, Any]) -> dict[str, str]:
    """What the file remembers of its origin, as OME key-value pairs."""
    notes = {}
    if provenance:
        rest = {name: value for name, value in provenance.items() if name != "recipe"}
        notes[_RECIPE_KEY] = json.dumps(provenance["recipe"])
        notes["napari-dip provenance"] = json.dumps(rest)
    if header.description:
        notes["source ImageDescription"] = strip_illegal_xml(header.description)
    if header.fits_header:
        notes["source FITS header"] = header.fits_header
    return notes


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` in a data type of OME, with the same values."""
    pixels = np.asarray(pixels)
    kind = pixels.dtype
    if kind == np.float16:
        return pixels.astype(np.float32)
    if kind.kind in "iu" and kind.itemsize == 8:
        smaller = np.dtype(np.int32 if kind.kind == "i" else np.uint32)
        limits = np.iinfo(smaller)
        fits_in = pixels.size == 0 or (pixels.min() >= limits.min and pixels.max() <= limits.max)
        return pixels.astype(smaller if fits_in else np.float64)
    return np.ascontiguousarray(pixels)
