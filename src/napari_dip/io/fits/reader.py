"""FITS in: each image in data units, with its error and quality planes."""

from __future__ import annotations

import json
import math
import re
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
from napari_dip.core.errors import ReadError
from napari_dip.core.header import Header
from napari_dip.core.world_coordinates import parse_wcs
from napari_dip.io.data_quality import DataQuality
from napari_dip.io.fits.hdu import data_of, has_pixels, header_text, name_of, native, open_fits, shape_of
from napari_dip.io.image import ImageData, valid_sigma
from napari_dip.io.lazy import chunked_array

_ERRORS = {"ERR", "ERROR", "SIGMA", "UNCERT"}
_VARIANCES = {"VAR", "VARIANCE", "STAT"}
_INVERSE_VARIANCES = {"IVAR", "INVVAR"}
_WEIGHTS = {"WHT", "WEIGHT"}  # often exposure times: only 0 has a reliable meaning
_FLAGS = {"DQ", "MASK", "FLAGS", "FILLED"}
_FILES_BESIDE = {"_ood_": "DQ", "_oow_": "IVAR"}  # of DECam, beside the image "_ooi_"
_SIGMAS = _ERRORS | _VARIANCES | _INVERSE_VARIANCES
_RELATED = _SIGMAS | _WEIGHTS | _FLAGS
# Lookup tables and by-products that are stored as images but do not show the sky.
_NOT_SCIENCE = re.compile(
    r"WCSDVARR|D2IMARR|FIELDMAP|WAVELENGTH|AREA$|SKYFIT|RESIDUAL|VAR_|PATHLOSS|TRUTH"
)

_SPECTRAL = ("FREQ", "ENER", "WAVN", "VRAD", "WAVE", "VOPT", "ZOPT", "AWAV", "VELO", "BETA")


def fits_images(path: Path) -> Iterator[ImageData]:
    """Yield the science images of a FITS file, each with its error and quality planes."""
    with open_fits(path, checksum=_is_small(path)) as hdus:
        yield from hdu_images(hdus, path)


def hdu_images(hdus: fits.HDUList, path: Path = Path()) -> Iterator[ImageData]:
    """Yield the science images of `hdus`, each with its error and quality planes."""
    images = [index for index, hdu in enumerate(hdus) if _is_image(hdu)]
    science = [index for index in images if name_of(hdus[index]) not in _RELATED] or images
    if not science:
        raise ReadError(f"{path} holds no image, only {_contents(hdus)}")
    for index in science:
        yield _image(path, hdus, index)


def fits_image(path: Path, wanted: str) -> ImageData:
    """Return any image of a FITS file, by EXTNAME (the first), ``EXTNAME,EXTVER`` or number.

    Raises
    ------
    ReadError
        If the file has no such image.
    """
    name, _, version = wanted.upper().partition(",")
    with open_fits(path, checksum=_is_small(path)) as hdus:
        images = {i: hdu for i, hdu in enumerate(hdus) if has_pixels(hdu)}
        for index, hdu in images.items():
            called = name == name_of(hdu) and version in ("", str(hdu.ver))
            if called or wanted == str(index):
                return _image(path, hdus, index)
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


def _is_small(path: Path) -> bool:
    """Whether a file is small enough to read all of it for a check."""
    return arrays.fits_in_memory((path.stat().st_size,), np.uint8)


def _is_image(hdu: Any) -> bool:
    return has_pixels(hdu) and not _NOT_SCIENCE.match(name_of(hdu))


def _contents(hdus: fits.HDUList) -> str:
    kinds = [
        type(h).__name__.removesuffix("HDU") for h in hdus if len(getattr(h, "shape", ())) or h.size
    ]
    return ", ".join(kinds) or "headers"


def _image(path: Path, hdus: fits.HDUList, index: int) -> ImageData:
    hdu = hdus[index]
    stored_header = hdu.header.copy()  # reading the pixels changes it
    related = [other for other in hdus if _belongs_to(other, hdu)] or _sidecar_planes(path, hdus, hdu)
    related.sort(
        key=lambda other: not is_byproduct_of(other, hdu)
    )  # a by-product of ours belongs to this image alone
    array, axes = _without_single_axes(_pixels(path, hdus, index), stored_header)
    sigma = next((_native_sigma(c) for c in related if name_of(c) in _SIGMAS), None)
    flagged, quality = np.zeros(array.shape, bool), None
    for plane in related:
        if name_of(plane) in _FLAGS:
            found = _quality(plane, hdus[0].header)
            flagged |= found.mask().reshape(array.shape)
            if name_of(plane) != "FILLED" and quality is None:
                quality = replace(found, values=found.values.reshape(array.shape))
        elif name_of(plane) in _WEIGHTS:
            flagged |= (native(data_of(plane)) == 0).reshape(array.shape)
    if sigma is not None:
        sigma = valid_sigma(sigma.reshape(array.shape), flagged)
    header = Header(
        path=str(path),
        hdu=index,
        name=str(hdu.name) if index else "",
        unit=str(stored_header.get("BUNIT", "")).strip(),
        pixel_size=_pixel_size(stored_header, axes),
        fits_header=header_text(stored_header),
        primary_header=header_text(hdus[0].header) if index else "",
    )
    return ImageData(
        array,
        axes,
        bad_mask=flagged if flagged.any() else None,
        sigma=sigma,
        header=header,
        quality=quality,
    )


def _belongs_to(other: Any, hdu: Any) -> bool:
    if other is hdu or not _is_image(other) or shape_of(other) != shape_of(hdu):
        return False
    if "DIPOF" in other.header:
        return is_byproduct_of(other, hdu)
    return name_of(other) in _RELATED and bool(other.ver == hdu.ver)


def is_byproduct_of(other: Any, hdu: Any) -> bool:
    """Whether `other` is a by-product of the restoration of `hdu`."""
    about = (other.header.get("DIPOF"), other.header.get("DIPOFVER", 1))
    return bool(about == (name_of(hdu), hdu.ver))


def _sidecar_planes(path: Path, hdus: fits.HDUList, hdu: Any) -> list[fits.ImageHDU]:
    """The quality and weight planes of `hdu` in files of their own, as those of DECam."""
    found: list[fits.ImageHDU] = []
    if "_ooi_" not in path.name:
        return found
    for part, name in _FILES_BESIDE.items():
        other = path.with_name(path.name.replace("_ooi_", part))
        if not other.is_file():
            continue
        try:
            with open_fits(other) as others:
                if others[0].header.get("OBSID") != hdus[0].header.get("OBSID"):
                    continue
                same = [o for o in others if has_pixels(o) and name_of(o) == name_of(hdu)]
                planes = [native(data_of(o)) for o in same if shape_of(o) == shape_of(hdu)]
        except ReadError as error:
            warnings.warn(f"a file beside {path.name} was left out: {error}", stacklevel=3)
        else:
            found += [fits.ImageHDU(plane, name=name) for plane in planes[:1]]
    return found


def _pixels(path: Path, hdus: fits.HDUList, index: int) -> Any:
    """All pixels in data units and native byte order; lazy for a large image."""
    hdu = hdus[index]
    if arrays.fits_in_memory(shape_of(hdu), np.float64) or not hdu.shape or hdus.filename() is None:
        return native(data_of(hdu))

    def part(place: tuple[slice, ...]) -> NDArray[Any]:
        with open_fits(path) as again:
            return np.asarray(again[index].section[place])

    return chunked_array(path, hdu.shape, part((slice(0, 1),) * len(hdu.shape)).dtype, part)


def _native_sigma(hdu: Any) -> NDArray[np.float32]:
    """The standard deviation of an error, variance or inverse variance plane."""
    from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

    kind = StdDevUncertainty
    if name_of(hdu) in _VARIANCES:
        kind = VarianceUncertainty
    elif name_of(hdu) in _INVERSE_VARIANCES:
        kind = InverseVariance
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = kind(native(data_of(hdu)).astype(float)).represent_as(StdDevUncertainty).array
    return np.asarray(plane, np.float32)


def _quality(hdu: Any, primary: fits.Header) -> DataQuality:
    values = native(data_of(hdu))
    if name_of(hdu) != "DQ":  # a mask: all of its values are bad
        return DataQuality.from_plane(values, "")
    return DataQuality.from_plane(
        values, str(primary.get("TELESCOP", "")), str(primary.get("INSTRUME", ""))
    )


def _without_single_axes(data: Any, header: fits.Header) -> tuple[Any, str]:
    """The pixels without leading axes of length 1, and a letter for each other axis."""
    letters = ""
    kept = []
    for axis in range(data.ndim - 2):
        if data.shape[axis] == 1:
            continue
        kept.append(data.shape[axis])
        kind = str(header.get(f"CTYPE{data.ndim - axis}", "")).upper()
        colors = data.shape[axis] <= 4 and not kind
        letters += "C" if kind.startswith((*_SPECTRAL, "STOKES", "LINEAR")) or colors else "T"
    if len(letters) > 3:  # more axes than letters: the first ones become one, of time
        kept = [math.prod(kept[:-2]), *kept[-2:]]
    if len(set(letters)) < len(letters):
        letters = "TZC"[: len(kept)]
    return data.reshape(*kept, *data.shape[-2:]), f"{letters}YX"


def _pixel_size(header: fits.Header, axes: str) -> dict[str, tuple[float, str]]:
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
