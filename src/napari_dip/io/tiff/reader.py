"""TIFF in: OME, ImageJ, MetaMorph and plain files, with pixel sizes, channel names and provenance."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ReadError, ReadWarning
from napari_dip.core.header import Header
from napari_dip.io.image import ImageData
from napari_dip.io.lazy import chunked_array
from napari_dip.io.tiff import calibration
from napari_dip.io.tiff.ome import ome
from napari_dip.io.tiff.scan import ORIENTATION, open_tiff, validate_plane_count

_BYPRODUCTS = ("FILLED", "UNCERT", "RESIDUAL")
_ICC_PROFILE = 34675  # tag
_MIN_IS_WHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6  # of the tag PhotometricInterpretation


def tiff_images(path: Path) -> Iterator[ImageData]:
    """Yield the images of a TIFF file; series FILLED, UNCERT and RESIDUAL belong to the one before."""
    with open_tiff(path) as tiff:
        _warn_of_other_parts(path, tiff)
        image: ImageData | None = None
        names = {
            number: one.name or str(number)
            for number, one in enumerate(tiff.series)
            if one.name not in _BYPRODUCTS
        }
        for number, one in enumerate(tiff.series):
            same_size = image is not None and image.array.shape == one.shape
            if image is not None and one.name == "FILLED":
                image = replace(image, bad_mask=one.asarray() != 0) if same_size else image
            elif image is not None and one.name == "UNCERT":
                image = replace(image, sigma=one.asarray()) if same_size else image
            elif image is None or one.name != "RESIDUAL":
                if image is not None:
                    yield image
                others = tuple(name for other, name in names.items() if other != number)
                image = replace(_image(path, tiff, number, one), others=others)
        if image is not None:
            yield image


def tiff_provenance(path: Path) -> dict[str, Any]:
    """Return how a file was made, from our annotation in the OME-XML or in ImageJ's Info; or empty."""
    with open_tiff(path) as tiff:
        entries = ome(tiff).iterfind(".//{*}MapAnnotation//{*}M")
        notes = {str(entry.get("K")): entry.text or "" for entry in entries}
        info = str((tiff.imagej_metadata or {}).get("Info", ""))
    if info.startswith('{"napari-dip recipe"'):
        notes |= json.loads(info)
    if "napari-dip recipe" not in notes:
        return {}
    rest = json.loads(notes.get("napari-dip provenance", "{}"))
    return {"recipe": json.loads(notes["napari-dip recipe"]), **rest}


def _warn_of_other_parts(path: Path, tiff: Any) -> None:
    """Say where the rest of a set of files is, whose first one lists them all."""
    listed = ome(tiff).find("{*}BinaryOnly")
    if listed is not None:
        first = listed.get("MetadataFile", "another file")
        is_there = path.with_name(first).is_file()
        advice = (
            f"open {first} for all of them" if is_there else f"{first}, which lists them, is missing"
        )
        text = f"{path} is one part of an image in several files: {advice}"
        warnings.warn(text, ReadWarning, stacklevel=3)


def _image(path: Path, tiff: Any, number: int, series: Any) -> ImageData:
    validate_plane_count(path, len(series.pages), sum(page is not None for page in series.pages))
    page = series.keyframe
    axes, arranged = _arrangement(path, series)
    levels, unit = [], ""
    for level in range(len(series.levels)):
        pixels = arranged(_pixels(path, number, series, level))
        calibrated, unit = calibration.apply_density_calibration(tiff, pixels)
        levels.append(calibrated)
    rgb = (
        axes.endswith("C")
        and "S" in series.axes
        and levels[0].shape[-1] in (3, 4)
        and series.dtype == np.uint8
        and int(page.photometric) in (_RGB, _YCBCR)
    )
    sizes, channels = calibration.read_calibration(tiff, number, page)
    missing = _missing_planes(series)
    return ImageData(
        levels[0],
        axes,
        bad_mask=None if missing is None else arranged(missing),
        rgb=rgb,
        header=Header(
            path=str(path),
            hdu=number,
            name=str(series.name or ""),
            unit=unit,
            pixel_size=sizes,
            channels=channels,
            rgb=rgb,
            orientation=int(page.tags.valueof(ORIENTATION, 1)),
            icc_profile=bytes(page.tags.valueof(_ICC_PROFILE, b"")),
            description=str(page.description or tiff.pages[0].description or ""),
        ),
        levels=tuple(levels[1:]),
        colormap=_colormap(page),
    )


def _arrangement(path: Path, series: Any) -> tuple[str, Callable[[Any], Any]]:
    """A letter for each axis, and a function that brings an array of the series into that shape.

    Samples are channels. An axis of unknown meaning (Q, I ...) becomes time, whose frames are restored
    separately, so that nothing is mixed; so do the planes of a MetaMorph file at several places of the
    stage. If there are more axes than letters, the first ones are merged.
    """
    axes = str(series.axes)
    places = (series.parent.stk_metadata or {}).get("StagePosition", ())
    if len(places) > 1 and np.ptp(places, axis=0).any():
        axes = axes.replace("Z", "I")
    planar = axes.index("S") if "S" in axes and int(series.keyframe.photometric) == _RGB else None
    if planar is not None:  # colors may be stored plane by plane
        axes = axes.replace("S", "") + "S"
    axes = axes.replace("S", "C")
    merged = max(len(axes) - 5, 0)
    if merged:
        if {"Y", "X"} & set(axes[: merged + 1]):
            raise ReadError(f"{path}: axes {series.axes} are more than time, channel, depth, Y and X")
        axes = "Q" + axes[merged + 1 :]
    letters = ""
    for letter in axes:
        known = letter in "TCZYX" and letter not in letters
        new = letter if known else next(s for s in "TZCYX" if s not in letters + axes)
        if new == "Z" != letter:
            text = f"{path}: the planes of axis {letter} are called Z, and need not be depths"
            warnings.warn(text, ReadWarning, stacklevel=4)
        letters += new

    def arranged(pixels: Any) -> Any:
        if planar is not None:
            pixels = np.moveaxis(pixels, planar, -1)
        return pixels.reshape(-1, *pixels.shape[merged + 1 :]) if merged else pixels

    return letters, arranged


def _colormap(page: Any) -> NDArray[np.float64] | None:
    """The colormap of the file, if larger is not simply brighter."""
    if int(page.photometric) == _MIN_IS_WHITE:
        return np.array([[1.0] * 3, [0.0] * 3])
    if int(page.photometric) != _PALETTE or page.colormap is None:
        return None
    table = page.colormap.T / (65535 if page.colormap.max() > 255 else 255)
    is_grey = (table == table[:, :1]).all() and (np.diff(table[:, 0]) >= 0).all() and table.any()
    return None if is_grey else table


def _missing_planes(series: Any) -> BoolArray | None:
    """Planes that the metadata list but the file lacks, for which tifffile returns zeros."""
    absent = [page is None for page in series.pages]
    if not any(absent):
        return None
    planes = np.zeros((len(absent), math.prod(series.shape) // len(absent)), bool)
    planes[absent] = True
    return planes.reshape(series.shape)


def _pixels(path: Path, number: int, series: Any, level: int) -> Any:
    """All pixels of one level of a series; lazy for a large one."""
    found = series.levels[level]
    if 0 in found.shape or len(found.shape) < 2:
        sides = " x ".join(map(str, found.shape))
        raise ReadError(f"{path} holds no image: its pixels are {sides}, and two sides are needed")
    bits = int(found.keyframe.bitspersample)
    if bits > 64 and found.dtype.kind != "c":
        raise ReadError(f"{path}: pixels of {bits} bits cannot be read")
    piece = (
        math.prod(found.keyframe.chunks) * found.dtype.itemsize
    )  # a tile may be larger than the image
    size, stored = max(int(found.nbytes), piece), path.stat().st_size
    if size > arrays.densest_bytes(stored):
        raise ReadError(
            f"{path} would unpack to {size / 1e9:.3g} GB from {stored:,} bytes: it is broken, or a trap"
        )
    if not arrays.fits_in_memory(found.shape, found.dtype):
        return _lazy_pixels(path, number, found, level)
    try:
        pixels = np.asarray(found.asarray(), found.dtype.newbyteorder("="))
    except ValueError as error:
        cut = re.search(r"failed to read (\d+) bytes, got (\d+)", str(error))
        if cut is None:
            raise
        raise _truncated_file(path, int(cut[1]), int(cut[2])) from error
    if pixels.shape != tuple(found.shape):
        raise ReadError(f"{path} is broken: its pixels do not fill the {found.shape} that it promises")
    return pixels


def _lazy_pixels(path: Path, number: int, series: Any, level: int) -> Any:
    for page in series.pages:
        file = page and page.parent.filehandle
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True) if page else ():
            if offset + count > file.size:
                raise _truncated_file(path, count, max(file.size - offset, 0))

    def part(place: tuple[slice, ...]) -> NDArray[Any]:
        import zarr

        with open_tiff(path) as tiff:
            store = tiff.series[number].aszarr(level=level)
            return np.asarray(zarr.open_array(store, mode="r")[place])

    return chunked_array(path, series.shape, series.dtype, part)


def _truncated_file(path: Path, need: int, have: int) -> ReadError:
    return ReadError(
        f"{path} is cut off: {have:,} of {need:,} bytes of pixels are there; copy or download it again"
    )
