"""Pixel sizes and channel names in TIFF files: OME, ImageJ and MetaMorph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_dip.io.tiff.ome import ome

UNITS = {"um", "nm", "mm", "cm", "m", "s", "ms", "min", "h"}
_SPELLINGS = dict.fromkeys(("µm", "μm", r"\u00b5m", r"\u03bcm", "micron", "microns", "micrometer"), "um")
_SPELLINGS |= {"sec": "s", "second": "s"}

Sizes = Mapping[str, tuple[float, str]]


def read_calibration(tiff: Any, number: int, page: Any) -> tuple[Sizes, tuple[str, ...]]:
    """Return pixel sizes by axis letter, and names along C, of series `number` with the first page
    `page`.

    TIFF's own resolution is how large to print; only ImageJ makes a calibration of it.
    """
    images = ome(tiff).findall("{*}Image")
    pixels = images[number].find("{*}Pixels") if number < len(images) else None
    if pixels is not None:
        return _of_ome(pixels), tuple(name for channel in pixels if (name := channel.get("Name")))
    if tiff.imagej_metadata:
        return _of_imagej(tiff.imagej_metadata, page)
    return _of_metamorph(tiff.stk_metadata or {}), ()


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
    found = {"Z": (said.get("spacing"), unit), "T": (said.get("finterval"), said.get("tunit", "s"))}
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        pixels, length = page.tags[tag].value if tag in page.tags else (0, 1)
        found[letter] = (length / pixels if pixels else None, unit)
    channels, labels = said.get("channels", 1), said.get("Labels") or ()
    return _sizes(found), tuple(labels) if said.get("images") == channels == len(labels) else ()


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
    """The plausible sizes, in units that napari knows."""
    sizes = {}
    for letter, (value, unit) in said.items():
        unit = str(unit).strip().lower()
        unit = _SPELLINGS.get(unit, unit)
        try:
            size = float(value)
        except (TypeError, ValueError):
            continue
        if unit in UNITS and np.isfinite(size) and size > 0:
            sizes[letter] = (size, unit)
    return sizes
