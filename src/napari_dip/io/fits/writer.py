"""FITS out: into a copy of the file it came from, with every card that is still true."""

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
from napari_dip.io.atomic import atomic_write
from napari_dip.io.fits.reader import is_byproduct_of, name_of, open_fits
from napari_dip.io.image import ImageData

# Cards that describe how the pixels were stored, and are no longer true of float32 pixels.
_STALE = re.compile(
    r"BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|DATAMIN|DATAMAX|GCOUNT|PCOUNT"
    r"|Z(IMAGE|SIMPLE|EXTEND|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ"
    r"|DITHER0|SCALE|ZERO|BLANK|HECKSUM|DATASUM|PCOUNT|GCOUNT)"
)


def write_fits(path: Path, picture: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `picture` into a copy of the file that it was read from, or into a new one."""
    picture = picture.planes_last()
    with _copy_of_source(picture.header) as hdus:
        index = min(picture.header.hdu, len(hdus) - 1)
        shape = _stored_shape(hdus[index], picture.array)
        kind = fits.PrimaryHDU if index == 0 else fits.ImageHDU
        header = _drop_stale_cards(fits.Header.fromstring(picture.header.fits_header, sep="\n"))
        image = kind(_storable(picture.array.reshape(shape)), header)
        for old in [hdu for hdu in hdus[index + 1 :] if is_byproduct_of(hdu, image)]:
            hdus.remove(old)
        hdus[index] = image
        if not picture.header.fits_header:
            _describe_pixels(image.header, picture)
        _name_time(image.header, picture)
        if provenance:
            _write_provenance(image.header, picture, provenance)
            for name, (plane, comment) in _byproduct_hdus(picture).items():
                if plane.shape == picture.array.shape:
                    plane = plane.reshape(shape)
                aside = fits.ImageHDU(plane, name=name)
                aside.header["DIPOF"] = (name_of(image), "name of the image that this is about")
                aside.header["DIPOFVER"] = (image.ver, "its EXTVER")
                aside.header["COMMENT"] = comment
                hdus.append(aside)
        with atomic_write(path) as unfinished, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            hdus.writeto(unfinished, overwrite=True, checksum=True, output_verify="silentfix+ignore")


def _byproduct_hdus(picture: ImageData) -> dict[str, tuple[NDArray[Any], str]]:
    """What a restoration says about its pixels: extensions by name, each with a comment."""
    found: dict[str, tuple[NDArray[Any], str]] = {}
    if picture.bad_mask is not None and picture.bad_mask.any():
        comment = "1: not observed, made up by the deep image prior"
        found["FILLED"] = (picture.bad_mask.astype(np.uint8), comment)
    if picture.sigma is not None:
        comment = "one standard deviation of the restored image's error, in its unit"
        found["UNCERT"] = (picture.sigma, comment)
    if picture.residual is not None:
        comment = "data less what the image predicts, in standard deviations of their noise"
        found["RESIDUAL"] = (picture.residual, comment)
    return found


@contextmanager
def _copy_of_source(header: Header) -> Iterator[fits.HDUList]:
    """The input's HDUs, or a single new one where the input was no FITS file or is gone."""
    source = Path(header.path)
    if header.fits_header and source.is_file():
        with open_fits(source, do_not_scale_image_data=True) as hdus:  # bit for bit as they are
            yield hdus
    else:
        yield fits.HDUList([fits.PrimaryHDU()])


def _stored_shape(hdu: Any, image: NDArray[Any]) -> tuple[int, ...]:
    """The shape in the file, single axes included, if it fits; else the image's own."""
    shape = tuple(hdu.shape or ())
    fits_in = np.prod(shape) == image.size and shape[-2:] == image.shape[-2:]
    return shape if fits_in else image.shape


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` in a type that FITS has."""
    smaller = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}
    return np.ascontiguousarray(pixels, smaller.get(pixels.dtype, pixels.dtype))


def _drop_stale_cards(header: fits.Header) -> fits.Header:
    for keyword in {k for k in header if _STALE.fullmatch(k)}:
        header.remove(keyword, remove_all=True)
    return header


def _describe_pixels(header: fits.Header, picture: ImageData) -> None:
    """Linear coordinates for pixels that came without a FITS header."""
    if picture.header.unit:
        header["BUNIT"] = picture.header.unit
    for number, letter in enumerate(reversed(picture.axes), start=1):
        if letter in picture.header.pixel_size:
            size, unit = picture.header.pixel_size[letter]
            header[f"CDELT{number}"] = size
            header[f"CUNIT{number}"] = unit


def _name_time(header: fits.Header, picture: ImageData) -> None:
    """Say which axis is time where nobody did: a reader would take a few frames for colours."""
    for number, letter in enumerate(reversed(picture.axes), start=1):
        if letter == "T" and number == header["NAXIS"] and f"CTYPE{number}" not in header:
            if header.get("WCSAXES", number) < number:
                header["WCSAXES"] = number
            header[f"CTYPE{number}"] = "TIME"


def _write_provenance(header: fits.Header, picture: ImageData, provenance: Mapping[str, Any]) -> None:
    recipe, noise = provenance["recipe"], provenance["noise"]
    filled = 0 if picture.bad_mask is None else int(picture.bad_mask.sum())
    header["DIPVER"] = (provenance["versions"]["napari-dip"], "napari-dip, deep image prior")
    header["DIPSEED"] = (recipe["seed"], "seed of the run")
    header["DIPITER"] = (max(provenance["chosen"]), "step whose image was taken")
    sigma = [value for frame in noise["sigma"] for value in frame if value is not None]
    if sigma:
        header["DIPSIGMA"] = (float(f"{np.median(sigma):.7g}"), "[data units] noise")
    header["DIPNOISE"] = (noise["origin"], "where that came from")
    header["DIPFILL"] = (filled, "[pixel] filled by the prior")
    header["DIPSHA"] = (provenance["input"]["sha256"], "of the input")
    header["DIPSTOP"] = provenance["reason"]
    header["DIPVERD"] = _printable(provenance["verdict"])
    header["DIPDATE"] = (provenance["date"], "UTC")
    header["DIPRECIP"] = json.dumps(recipe)
    header["DIPPROV"] = json.dumps({k: v for k, v in provenance.items() if k != "recipe"})
    header["HISTORY"] = f"Restored by {_printable(recipe['title'])}, napari-dip."
    header["HISTORY"] = "DIPRECIP repeats it: napari-dip run THIS_FILE INPUT OUTPUT"


def _printable(text: str) -> str:
    """`text` in the characters that a card may have."""
    return " ".join(text.encode("ascii", "replace").decode().split())
