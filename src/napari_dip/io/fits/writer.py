"""FITS out: into a copy of the source file, with each card that is still true."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from napari_dip.core.header import Header
from napari_dip.core.provenance import Provenance
from napari_dip.io.atomic import atomic_write
from napari_dip.io.fits.axes import image_axes, set_orientation
from napari_dip.io.fits.cards import parse_cards
from napari_dip.io.fits.companions import is_byproduct_of
from napari_dip.io.fits.hdu import name_of, open_fits
from napari_dip.io.formats import format_to_read
from napari_dip.io.image import ImageData
from napari_dip.io.lazy import file_identity

# Cards that describe how pixels are stored, and statistics of them: untrue of the pixels of a result.
STALE = re.compile(
    r"BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|GCOUNT|PCOUNT"
    r"|DATA(MIN|MAX|MEAN|MED|MEDN|RMS|STD|SKEW|KURT|CENT|P\d\d)\d?|IRAF-M(AX|IN)"
    r"|(GOOD|SNR)M(AX|IN|EAN)|MEDIAN|MEANC\d+|HISTWIDE|SKEWNESS|MEDSHADO"
    r"|Z(IMAGE|SIMPLE|EXTEND|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ"
    r"|DITHER0|SCALE|ZERO|BLANK|HECKSUM|DATASUM|PCOUNT|GCOUNT)"
)

_FIRST_VERSION = ("DIPITER", "DIPNOISE", "DIPVERD")  # cards that have other names now


def write_fits(path: Path, image: ImageData, metadata: Mapping[str, Any]) -> None:
    """Write `image` into a copy of the file that it was read from, or into a new one.

    `metadata` is that of a result, or empty.
    """
    stored_header = parse_cards(image.header.fits_header)
    image = _in_stored_order(image, stored_header)
    with _copy_of_source(image.header) as hdus:
        index = min(image.header.hdu, len(hdus) - 1)
        shape = _stored_shape(hdus[index], image.array)
        kind = fits.PrimaryHDU if index == 0 else fits.ImageHDU
        hdu = kind(_storable(image.array.reshape(shape)), _drop_stale_cards(stored_header))
        for old in [other for other in hdus[index + 1 :] if is_byproduct_of(other, hdu, index)]:
            hdus.remove(old)
        hdus[index] = hdu
        if not image.header.fits_header:
            _describe_pixels(hdu.header, image.header, image.axes)
        _name_time(hdu.header, image)
        set_orientation(hdu.header, image.header.orientation)
        if metadata:
            _write_provenance(hdu.header, image, metadata)
            hdus += _byproduct_hdus(image, hdu, index)
            hdus += _motion_tables(metadata, hdu, index)
        with atomic_write(path) as unfinished, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            hdus.writeto(unfinished, overwrite=True, checksum=True, output_verify="ignore")


def _byproduct_hdus(image: ImageData, of: Any, index: int) -> list[fits.ImageHDU]:
    """The by-products of the image HDU `of`."""
    hdus = []
    for one in image.byproducts():
        is_same = one.values.shape == image.array.shape
        hdu = fits.ImageHDU(one.values.reshape(of.shape) if is_same else one.values, name=one.name)
        _set_owner(hdu.header, of, index)
        if one.name == "UNCERT":
            hdu.header["UTYPE"] = ("StdDevUncertainty", "astropy.nddata")
        if one.is_map and not image.header.fits_header:
            _describe_pixels(hdu.header, image.header, one.axes)
        if one.unit:
            hdu.header["BUNIT"] = one.unit
        if one.comment:
            hdu.header["COMMENT"] = one.comment
        hdus.append(hdu)
    return hdus


def _motion_tables(metadata: Mapping[str, Any], of: Any, index: int) -> list[fits.BinTableHDU]:
    """The motion of the scene as a table with a row for each exposure of each slice, if it moved."""
    motion = np.array(Provenance.from_dict(metadata).operator.motion, np.float32)
    if not motion.size:
        return []
    slices, exposures = (n.ravel() + 1 for n in np.indices(motion.shape[:2]))
    angle, y, x = motion.reshape(-1, 3).T
    columns = [
        fits.Column("SLICE", "J", array=slices),
        fits.Column("EXPOSURE", "J", array=exposures),
        fits.Column("ANGLE", "E", unit="deg", array=angle),
        fits.Column("Y", "E", unit="pixel", array=y),
        fits.Column("X", "E", unit="pixel", array=x),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="MOTION")
    _set_owner(table.header, of, index)
    return [table]


def _set_owner(header: fits.Header, of: Any, index: int) -> None:
    """Name the image HDU that a by-product belongs to."""
    header["DIPOF"] = (name_of(of), "name of the image that this belongs to")
    header["DIPOFVER"] = (of.ver, "its EXTVER")
    header["DIPOFHDU"] = (index, "its number, from 0 on")


@contextmanager
def _copy_of_source(header: Header) -> Iterator[fits.HDUList]:
    """The HDUs of the source, or a new one if it is not a FITS file, or has changed since."""
    source = Path(header.path)
    is_there = bool(header.fits_header) and source.is_file() and format_to_read(source).name == "FITS"
    if is_there and header.identity in (None, file_identity(source)):
        # Not scaled, so that they stay bit for bit as they are.
        with open_fits(source, do_not_scale_image_data=True, checksum=False) as hdus:
            yield hdus
        return
    if is_there:
        warnings.warn(
            f"{source} was changed since it was read: what else it contains is not copied", stacklevel=5
        )
    yield fits.HDUList([fits.PrimaryHDU()])


def _in_stored_order(image: ImageData, header: fits.Header) -> ImageData:
    """The image with its axes in the order of the file that it was read from; else with Y and X last."""
    shape = tuple(int(header.get(f"NAXIS{n}", 0)) for n in range(header.get("NAXIS", 0), 0, -1))
    letters = image_axes(shape, header)[1] if shape else ""
    is_same = set(letters) == set(image.axes)
    return image.with_axis_order(letters) if is_same else image.planes_last()


def _stored_shape(hdu: Any, image: NDArray[Any]) -> tuple[int, ...]:
    """The shape in the file, with axes of length 1, if it has as many pixels; else that of the image."""
    shape = tuple(hdu.shape or ())
    is_same = np.prod(shape) == image.size and shape[-2:] == image.shape[-2:]
    return shape if is_same else image.shape


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` in a data type of FITS."""
    smaller = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}
    return np.ascontiguousarray(pixels, smaller.get(pixels.dtype, pixels.dtype))


def _drop_stale_cards(header: fits.Header) -> fits.Header:
    for keyword in {k for k in header if STALE.fullmatch(k)}:
        header.remove(keyword, remove_all=True)
    return header


def _describe_pixels(header: fits.Header, source: Header, axes: str) -> None:
    """Unit and linear coordinates of pixels that came without a FITS header."""
    if source.unit:
        header["BUNIT"] = source.unit
    for number, letter in enumerate(reversed(axes), start=1):
        if letter in source.pixel_size:
            size, unit = source.pixel_size[letter]
            header[f"CDELT{number}"] = size
            header[f"CUNIT{number}"] = unit


def _name_time(header: fits.Header, image: ImageData) -> None:
    """Name the time axis if it has no name: a reader would take a few frames for colors."""
    for number, letter in enumerate(reversed(image.axes), start=1):
        if letter == "T" and number == header["NAXIS"] and f"CTYPE{number}" not in header:
            if header.get("WCSAXES", number) < number:
                header["WCSAXES"] = number
            header[f"CTYPE{number}"] = "TIME"


def _write_provenance(header: fits.Header, image: ImageData, metadata: Mapping[str, Any]) -> None:
    for keyword in _FIRST_VERSION:
        header.remove(keyword, ignore_missing=True)
    provenance = Provenance.from_dict(metadata)
    recipe, inpainted = provenance.recipe, 0 if image.bad_mask is None else int(image.bad_mask.sum())
    header["DIPVER"] = (provenance.versions["napari-dip"], "napari-dip, deep image prior")
    header["DIPSEED"] = (recipe["seed"], "seed of the run")
    header["DIPSTEP"] = (max(provenance.selected_step), "step whose image was taken")
    sigma = [value for planes in provenance.noise.sigma for value in planes if value is not None]
    if sigma:
        header["DIPSIGMA"] = (float(f"{np.median(sigma):.7g}"), "[data units] noise")
    header["DIPNSRC"] = (_printable(provenance.noise.source), "source of DIPSIGMA")
    header["DIPFILL"] = (inpainted, "[pixel] inpainted")
    header["DIPSHA"] = (provenance.input.sha256, "SHA-256 of the input")
    assessment = provenance.assessment
    header["DIPCHECK"] = (assessment.level, "good, check or failed")
    if assessment.reasons:
        header["DIPWHY"] = _printable("; ".join(assessment.reasons))
    header["DIPSTOP"] = _printable(provenance.stop_reason)
    header["DIPSUMM"] = _printable(metadata["summary"])
    header["DIPDATE"] = (provenance.date, "UTC")
    header["DIPRECIP"] = json.dumps(recipe)
    header["DIPPROV"] = json.dumps({k: v for k, v in metadata.items() if k != "recipe"})
    header["HISTORY"] = f"Restored by {_printable(recipe['title'])}, napari-dip."
    header["HISTORY"] = "To repeat it: napari-dip run THIS_FILE INPUT OUTPUT"


def _printable(text: str) -> str:
    """`text` in the characters that a card may have."""
    return " ".join(text.encode("ascii", "replace").decode().split())
