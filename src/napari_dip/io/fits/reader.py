"""FITS in: each image in data units, with its error and quality planes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError, ReadWarning
from napari_dip.core.header import Header
from napari_dip.core.world_coordinates import parse_wcs
from napari_dip.io.fits.axes import channel_names, image_axes, orientation_of
from napari_dip.io.fits.cards import header_text
from napari_dip.io.fits.companions import companions_of, owners_of, quality_of, role_of, sigma_of
from napari_dip.io.fits.hdu import data_of, has_pixels, name_of, native, open_fits, shape_of
from napari_dip.io.image import ImageData, valid_sigma
from napari_dip.io.lazy import chunked_array, file_identity

# Values that are never measured: UNSEEN of HEALPix, and the limits of single precision.
_NO_VALUES = np.array([-1.6375e30, -np.finfo(np.float32).max, np.finfo(np.float32).max], np.float32)
# Values that stand for missing pixels where many have them, and all others lie far above.
_MISSING_VALUES = (-999, -9999, -99999, -32768)
MIN_MISSING = 4


def fits_images(path: Path) -> Iterator[ImageData]:
    """Yield the science images of a FITS file, each with its error and quality planes."""
    with open_fits(path) as hdus:
        yield from hdu_images(hdus, path)


def hdu_images(hdus: fits.HDUList, path: Path = Path()) -> Iterator[ImageData]:
    """Yield the science images of `hdus`, each with its error and quality planes."""
    roles = {index: role_of(hdu) for index, hdu in enumerate(hdus) if has_pixels(hdu)}
    science = [index for index, role in roles.items() if role.kind == "image"]
    science = science or [index for index, role in roles.items() if role.is_companion]
    if not science:
        tables = [
            name_of(hdu)
            for hdu in hdus
            if isinstance(hdu, fits.BinTableHDU) and hdu.header["TDIM*"] and hdu.header["NAXIS2"] > 1
        ]
        where = f": its pixels are in a table, {tables[0]}, one frame a row" if tables else ""
        raise ReadError(f"{path} holds no image to restore, only {_contents(hdus)}{where}")
    owners = owners_of(hdus)
    for index in science:
        others = tuple(_label(hdus[other], other) for other in science if other != index)
        yield replace(_image(path, hdus, index, owners), others=others)


def fits_image(path: Path, wanted: str) -> ImageData:
    """Return any image of a FITS file, by EXTNAME (the first), ``EXTNAME,EXTVER`` or number.

    Raises
    ------
    ReadError
        If the file has no such image.
    """
    name, _, version = wanted.upper().partition(",")
    with open_fits(path) as hdus:
        images = {i: hdu for i, hdu in enumerate(hdus) if has_pixels(hdu)}
        for index, hdu in images.items():
            called = name == name_of(hdu) and version in ("", str(hdu.ver))
            if called or wanted == str(index):
                return _image(path, hdus, index, owners_of(hdus))
        have = ", ".join(name_of(hdu) or str(index) for index, hdu in images.items())
    raise ReadError(f"{path} has no image '{wanted}'; it has {have or 'none'}")


def fits_provenance(path: Path) -> dict[str, Any]:
    """Return how the most recently restored HDU was made; empty if there is none."""
    with open_fits(path) as hdus:
        made = [hdu.header for hdu in hdus if "DIPRECIP" in hdu.header]
        if not made:
            return {}
        latest = max(made, key=lambda header: str(header.get("DIPDATE", "")))
        rest = json.loads(latest.get("DIPPROV", "{}"))  # the first files lack it
        return {"recipe": json.loads(latest["DIPRECIP"]), **rest}


def _label(hdu: Any, index: int) -> str:
    """What `fits_image` finds an HDU by."""
    return f"{name_of(hdu)},{hdu.ver}" if name_of(hdu) and hdu.ver > 1 else name_of(hdu) or str(index)


def _contents(hdus: fits.HDUList) -> str:
    named = [
        f"{name_of(hdu) or 'an unnamed one'} ({type(hdu).__name__.removesuffix('HDU')})"
        for hdu in hdus
        if len(getattr(hdu, "shape", ())) or hdu.size
    ]
    return ", ".join(named) or "headers"


def _image(path: Path, hdus: fits.HDUList, index: int, owners: dict[int, int]) -> ImageData:
    hdu = hdus[index]
    stored_header, cards = hdu.header.copy(), header_text(hdu)  # reading the pixels changes them
    companions = companions_of(path, hdus, index, owners)
    pixels = _pixels(path, hdus, index)
    shape, axes = image_axes(pixels.shape, stored_header)
    array = pixels.reshape(shape)
    sigma = next((sigma_of(other) for other in companions if role_of(other).is_noise), None)
    flagged, quality = np.zeros(array.shape, bool), None
    for plane in companions:
        kind = role_of(plane).kind
        if kind == "flags":
            found = quality_of(plane, hdus[0].header)
            flagged |= found.mask().reshape(array.shape)
            if name_of(plane) != "FILLED" and quality is None:
                quality = replace(found, values=found.values.reshape(array.shape))
        elif kind == "weight":
            flagged |= (native(data_of(plane)) == 0).reshape(array.shape)
    if sigma is not None:
        sigma = valid_sigma(sigma.reshape(array.shape), flagged)
    header = Header(
        path=str(path),
        hdu=index,
        identity=file_identity(path),
        name=str(hdu.name) if index else "",
        unit=str(stored_header.get("BUNIT", "")).strip(),
        pixel_size=_pixel_size(stored_header),
        channels=channel_names(stored_header, shape[axes.index("C")]) if "C" in axes else (),
        orientation=orientation_of(stored_header),
        fits_header=cards,
        primary_header=header_text(hdus[0]) if index else "",
    )
    return ImageData(
        array,
        axes,
        bad_mask=flagged if flagged.any() else None,
        sigma=sigma,
        header=header,
        quality=quality,
    )


def _pixels(path: Path, hdus: fits.HDUList, index: int) -> Any:
    """All pixels in data units and native byte order; lazy for a large image."""
    hdu = hdus[index]
    if arrays.fits_in_memory(shape_of(hdu), np.float64) or not hdu.shape or hdus.filename() is None:
        return _without_missing_values(native(data_of(hdu)), path)

    def part(place: tuple[slice, ...]) -> NDArray[Any]:
        with open_fits(path) as again:
            return _without_no_values(np.asarray(again[index].section[place]))

    return chunked_array(path, hdu.shape, part((slice(0, 1),) * len(hdu.shape)).dtype, part)


def _without_no_values(pixels: NDArray[Any]) -> NDArray[Any]:
    """The pixels with NaN for values that are never measured."""
    if pixels.dtype.kind != "f":
        return pixels
    missing = np.isin(pixels, _NO_VALUES)
    return np.where(missing, np.nan, pixels) if missing.any() else pixels


def _without_missing_values(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """The pixels with NaN for values that stand for missing ones."""
    pixels = _without_no_values(pixels)
    low = np.nanmin(pixels) if np.isfinite(pixels).any() else np.nan
    if low not in _MISSING_VALUES or np.count_nonzero(pixels == low) < MIN_MISSING:
        return pixels
    others = pixels[np.isfinite(pixels) & (pixels != low)].astype(float)
    if not others.size or others.min() - low < np.quantile(others, 0.99) - others.min():
        return pixels
    warnings.warn(f"{path}: pixels of {low:g} count as missing", ReadWarning, stacklevel=4)
    return np.where(pixels == low, np.nan, pixels)


def _pixel_size(header: fits.Header) -> dict[str, tuple[float, str]]:
    """Pixel sizes in arcsec of a celestial WCS; empty if there is none, or a broken one."""
    try:
        celestial = parse_wcs(header).celestial
        scales = proj_plane_pixel_scales(celestial) * 3600
    except Exception:  # a WCS that astropy cannot parse says nothing about the pixels
        return {}
    if celestial.naxis != 2 or not np.all(np.isfinite(scales)) or np.any(scales <= 0):
        return {}
    if not celestial.wcs.ctype[0]:
        return {}
    return {"X": (float(scales[0]), "arcsec"), "Y": (float(scales[1]), "arcsec")}
