"""Pixel sizes and channel names in TIFF files: OME, ImageJ and MetaMorph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_dip.io.tiff.ome import ome

_LENGTHS = {f"{prefix}m" for prefix in (*"YZEPTGMkhcmnpfazy", "da", "d", "u", "")} | {"angstrom"}
_TIMES = {f"{prefix}s" for prefix in (*"YZEPTGMkhcmnpfazy", "da", "d", "u", "")} | {"min", "h", "d"}
UNITS = _LENGTHS | _TIMES  # as napari and astropy write them
OME_SPELLINGS = {"um": "µm", "us": "µs", "angstrom": "Å"}
_SPELLINGS = {spelled: unit for unit, spelled in OME_SPELLINGS.items()}
_SPELLINGS |= dict.fromkeys(("μm", r"\u00b5m", r"\u03bcm", "micron", "microns", "micrometer"), "um")
_SPELLINGS |= {"μs": "us", "sec": "s", "second": "s", "seconds": "s", "msec": "ms", "usec": "us"}
_SPELLINGS |= {"minute": "min", "minutes": "min", "hr": "h", "hour": "h", "hours": "h", "day": "d"}
_SPELLINGS |= {"å": "angstrom", "inch": "in", "inches": "in", "millimeter": "mm", "nanometer": "nm"}
_METERS = {  # other units of OME
    "thou": 25.4e-6, "li": 25.4e-3 / 12, "in": 25.4e-3, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344,
    "pt": 25.4e-3 / 72, "ua": 149597870700.0, "ly": 9460730472580800.0, "pc": 3.0856775814913673e16,
}  # fmt: skip

Sizes = Mapping[str, tuple[float, str]]


def read_calibration(tiff: Any, number: int, page: Any) -> tuple[Sizes, tuple[str, ...]]:
    """Return pixel sizes by axis letter, and names along C, of series `number` with the first page
    `page`.

    TIFF's own resolution is how large to print; only ImageJ makes a calibration of it.
    """
    if (found := ome_calibration(ome(tiff), number)) is not None:
        return found
    if tiff.imagej_metadata:
        return _of_imagej(tiff.imagej_metadata, page)
    return _of_metamorph(tiff.stk_metadata or {}), ()


def ome_calibration(said: ElementTree.Element, number: int) -> tuple[Sizes, tuple[str, ...]] | None:
    """Return pixel sizes by axis letter, and names along C, of an image of OME-XML, if it has it."""
    images = said.findall("{*}Image")
    pixels = images[number].find("{*}Pixels") if number < len(images) else None
    if pixels is None:
        return None
    return _of_ome(pixels), tuple(name for channel in pixels if (name := channel.get("Name")))


def _of_ome(pixels: ElementTree.Element) -> Sizes:
    keys = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "Z": "PhysicalSizeZ", "T": "TimeIncrement"}
    return _sizes(
        {
            letter: (pixels.get(key), pixels.get(f"{key}Unit", "s" if letter == "T" else "µm"))
            for letter, key in keys.items()
        }
    )


def _of_imagej(said: Mapping[str, Any], page: Any) -> tuple[Sizes, tuple[str, ...]]:
    unit = said.get("unit", "")
    found = {
        "Z": (said.get("spacing"), said.get("zunit", unit)),
        "T": (said.get("finterval"), said.get("tunit", "s")),
    }
    for letter, tag, own in (("X", "XResolution", unit), ("Y", "YResolution", said.get("yunit", unit))):
        pixels, length = page.tags[tag].value if tag in page.tags else (0, 1)
        found[letter] = (length / pixels if pixels else None, own)
    channels, labels = said.get("channels", 1), said.get("Labels") or ()
    return _sizes(found), tuple(labels) if said.get("images") == channels == len(labels) else ()


def apply_density_calibration(tiff: Any, pixels: Any) -> tuple[Any, str]:
    """Return the values that ImageJ shows for `pixels`, and their unit: c0 + c1 v.

    So it stores signed integers of 16 bits, and measurements in other units.
    """
    said = tiff.imagej_metadata or {}
    start, slope = (said.get(key) for key in ("c0", "c1"))
    if said.get("cf") != 0 or not slope or start is None or (start, slope) == (0, 1):
        return pixels, ""
    unit = str(said.get("vunit", "")).strip()
    unit = "" if unit.lower() in ("gray value", "grey value") else unit
    if (start, slope) == (-32768, 1) and pixels.dtype == np.uint16:
        return (pixels.astype(np.int32) - 32768).astype(np.int16), unit
    return (pixels.astype(np.float64) * slope + start).astype(np.float32), unit


def _of_metamorph(said: Mapping[str, Any]) -> Sizes:
    if not said.get("SpatialCalibration"):
        return {}
    unit = said.get("CalibrationUnits", "")
    depths = np.ravel(said.get("ZDistance", ()))
    depth = depths[1] if len(depths) > 1 else None
    return _sizes(
        {
            "X": (said.get("XCalibration"), unit),
            "Y": (said.get("YCalibration"), unit),
            "Z": (depth, unit),
        }
    )


def _sizes(said: Mapping[str, tuple[Any, str]]) -> Sizes:
    """The plausible sizes, in units that napari knows; the sign is the direction of a stage."""
    sizes = {}
    for letter, (value, unit) in said.items():
        try:
            size = abs(float(value))
        except (TypeError, ValueError):
            continue
        unit = str(unit).strip()
        unit = unit if unit in UNITS else _SPELLINGS.get(unit.lower(), unit)
        if unit.lower() in _METERS:
            size, unit = 1e3 * size * _METERS[unit.lower()], "mm"
        if unit in UNITS and np.isfinite(size) and size > 0:
            sizes[letter] = (size, unit)
    return sizes
