"""FITS in and out: scaled pixels in file order, companions paired, every true card kept."""

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
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from napari_dip import arrays
from napari_dip.errors import ReadError
from napari_dip.io.file_image import FileImage
from napari_dip.io.target import replacing
from napari_dip.observation import Flags, Header

_ERRORS = {"ERR", "ERROR", "SIGMA", "UNCERT"}
_VARIANCES = {"VAR", "VARIANCE", "STAT"}
_INVERSE_VARIANCES = {"IVAR", "INVVAR"}
_WEIGHTS = {"WHT", "WEIGHT"}  # often exposure times: only 0 has a meaning we can rely on
_FLAGS = {"DQ", "MASK", "FLAGS", "FILLED"}
_SIGMAS = _ERRORS | _VARIANCES | _INVERSE_VARIANCES
_COMPANIONS = _SIGMAS | _WEIGHTS | _FLAGS
# Lookup tables and by-products that are stored as images but show nothing of the sky.
_NOT_SCIENCE = re.compile(
    r"WCSDVARR|D2IMARR|FIELDMAP|WAVELENGTH|AREA$|SKYFIT|RESIDUAL|VAR_|PATHLOSS|TRUTH"
)

# JWST and Roman flag nearly every pixel with something; these bits alone make one unusable:
# DO_NOT_USE (0) and SATURATED (1).
_UNUSABLE_BITS = {"JWST": 0b11, "ROMAN": 0b11}

_SPECTRAL = ("FREQ", "ENER", "WAVN", "VRAD", "WAVE", "VOPT", "ZOPT", "AWAV", "VELO", "BETA")
# Cards that describe how the pixels were stored, and are no longer true of float32 pixels.
_STALE = re.compile(
    r"BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|DATAMIN|DATAMAX|GCOUNT|PCOUNT"
    r"|Z(IMAGE|SIMPLE|EXTEND|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ"
    r"|DITHER0|SCALE|ZERO|BLANK|HECKSUM|DATASUM|PCOUNT|GCOUNT)"
)


def fits_images(path: Path) -> Iterator[FileImage]:
    """Every science image of a FITS file, each with its error and quality planes."""
    with _opened(path) as hdus:
        yield from hdu_images(hdus, path)


def hdu_images(hdus: fits.HDUList, path: Path = Path()) -> Iterator[FileImage]:
    """Every science image of `hdus`, each with its error and quality planes."""
    images = [index for index, hdu in enumerate(hdus) if _is_image(hdu)]
    science = [index for index in images if _name(hdus[index]) not in _COMPANIONS] or images
    if not science:
        raise ReadError(f"{path} holds no image, only {_contents(hdus)}")
    for index in science:
        yield _image(path, hdus, index)


def fits_provenance(path: Path) -> dict[str, Any]:
    """What the HDU restored last says of how it was made; empty where none was."""
    with _opened(path) as hdus:
        made = [hdu.header for hdu in hdus if "DIPRECIP" in hdu.header]
        if not made:
            return {}
        latest = max(made, key=lambda header: str(header.get("DIPDATE", "")))
        rest = json.loads(latest.get("DIPPROV", "{}"))  # files of the first versions lack it
        return {"recipe": json.loads(latest["DIPRECIP"]), **rest}


def write_fits(path: Path, picture: FileImage, provenance: Mapping[str, Any]) -> None:
    """Write `picture` into a copy of the file that it was read from, or into a new one."""
    picture = picture.planes_first()
    with _copy_of_source(picture.header) as hdus:
        index = min(picture.header.hdu, len(hdus) - 1)
        shape = _stored_shape(hdus[index], picture.array)
        kind = fits.PrimaryHDU if index == 0 else fits.ImageHDU
        header = _still_true(fits.Header.fromstring(picture.header.cards, sep="\n"))
        image = kind(_storable(picture.array.reshape(shape)), header)
        for old in [hdu for hdu in hdus[index + 1 :] if _marks(hdu, image)]:
            hdus.remove(old)
        hdus[index] = image
        if not picture.header.cards:
            _describe_pixels(image.header, picture)
        _name_time(image.header, picture)
        if provenance:
            _record(image.header, picture, provenance)
            for name, (plane, comment) in _by_products(picture).items():
                aside = fits.ImageHDU(plane.reshape(shape), name=name)
                aside.header["DIPOF"] = (_name(image), "name of the image that this is about")
                aside.header["DIPOFVER"] = (image.ver, "its EXTVER")
                aside.header["COMMENT"] = comment
                hdus.append(aside)
        with replacing(path) as unfinished, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            hdus.writeto(unfinished, overwrite=True, checksum=True, output_verify="silentfix+ignore")


def _by_products(picture: FileImage) -> dict[str, tuple[NDArray[Any], str]]:
    """What a restoration says about its pixels: extensions by name, each with a comment."""
    found: dict[str, tuple[NDArray[Any], str]] = {}
    if picture.flagged is not None and picture.flagged.any():
        comment = "1: not observed, made up by the deep image prior"
        found["FILLED"] = (picture.flagged.astype(np.uint8), comment)
    if picture.sigma is not None:
        comment = "one standard deviation of the restored image's error, in its unit"
        found["UNCERT"] = (picture.sigma, comment)
    return found


@contextmanager
def _opened(path: Path, **options: bool) -> Iterator[fits.HDUList]:
    with path.open("rb") as file:
        magic = file.read(9)
    if not (magic == b"SIMPLE  =" or magic.startswith(b"\x1f\x8b")):
        raise ReadError(f"{path} is no FITS file: it does not begin with SIMPLE")
    with warnings.catch_warnings():
        # A card that astropy finds odd is kept as it is; nothing for the person to do about it.
        warnings.simplefilter("ignore", AstropyWarning)
        with fits.open(path, memmap=False, **options) as hdus:
            _check_complete(path, magic, hdus)
            yield hdus


def _check_complete(path: Path, magic: bytes, hdus: fits.HDUList) -> None:
    """Refuse data that are cut off: astropy would say that some buffer is too small."""
    if magic.startswith(b"\x1f\x8b"):
        return
    have = path.stat().st_size
    for index, hdu in enumerate(hdus):
        where = hdu.fileinfo()
        # The last block may lack its padding of up to 2879 bytes: no pixel is lost by that.
        need = where["datLoc"] + where["datSpan"] - 2879 if where and where["datSpan"] else 0
        if need > have:
            raise ReadError(
                f"{path}: the data of HDU {index} '{hdu.name}' are cut off:"
                f" {have:,} of {need:,} bytes are there; download the file again"
            )


def _is_image(hdu: Any) -> bool:
    kinds = fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU
    if not isinstance(hdu, kinds) or isinstance(hdu, fits.GroupsHDU):
        return False
    return len(hdu.shape) >= 2 and 0 not in hdu.shape and not _NOT_SCIENCE.match(_name(hdu))


def _name(hdu: Any) -> str:
    return str(hdu.name).upper().strip()


def _contents(hdus: fits.HDUList) -> str:
    kinds = [
        type(h).__name__.removesuffix("HDU") for h in hdus if len(getattr(h, "shape", ())) or h.size
    ]
    return ", ".join(kinds) or "headers"


def _image(path: Path, hdus: fits.HDUList, index: int) -> FileImage:
    hdu = hdus[index]
    stored_header = hdu.header.copy()  # reading the pixels rewrites it
    companions = [other for other in hdus if _belongs_to(other, hdu)]
    companions.sort(key=lambda other: not _marks(other, hdu))  # ours is of this very image
    array, axes = _without_single_axes(_pixels(hdu), stored_header, path)
    sigma = next((_native_sigma(c) for c in companions if _name(c) in _SIGMAS), None)
    if sigma is not None and not np.any(sigma > 0):
        sigma = None  # a plane that nobody filled in
    flagged = np.zeros(array.shape, bool)
    for companion in companions:
        if _name(companion) in _FLAGS:
            flagged |= _flagged(companion, hdus[0].header).reshape(array.shape)
        elif _name(companion) in _WEIGHTS:
            flagged |= (_native(companion.data) == 0).reshape(array.shape)
    if sigma is not None:
        sigma = sigma.reshape(array.shape)
        flagged |= ~(np.isfinite(sigma) & (sigma > 0))
    header = Header(
        path=str(path),
        hdu=index,
        name=str(hdu.name) if index else "",
        unit=str(stored_header.get("BUNIT", "")).strip(),
        pixel_size=_pixel_size(stored_header, axes),
        cards=_text(stored_header),
        inherited=_text(hdus[0].header) if index else "",
    )
    return FileImage(array, axes, flagged=flagged if flagged.any() else None, sigma=sigma, header=header)


def _belongs_to(other: Any, hdu: Any) -> bool:
    if other is hdu or not _is_image(other) or other.shape != hdu.shape:
        return False
    if "DIPOF" in other.header:
        return _marks(other, hdu)
    return _name(other) in _COMPANIONS and bool(other.ver == hdu.ver)


def _marks(other: Any, hdu: Any) -> bool:
    """Whether `other` is a by-product of the restoration of `hdu`."""
    about = (other.header.get("DIPOF"), other.header.get("DIPOFVER", 1))
    return bool(about == (_name(hdu), hdu.ver))


def _text(header: fits.Header) -> str:
    """The cards, one a line; characters that FITS forbids become spaces."""
    images = ["".join(c if " " <= c <= "~" else " " for c in str(card)) for card in header.cards]
    return "\n".join(image[i : i + 80] for image in images for i in range(0, len(image), 80))


def _pixels(hdu: Any) -> NDArray[Any]:
    """All pixels in data units and native byte order; a large image is read some rows at a time."""
    if arrays.fits_memory(hdu.shape, np.float64):
        return _native(hdu.data)
    kind = hdu.section[tuple(slice(0, 1) for _ in hdu.shape)].dtype.newbyteorder("=")
    pixels = arrays.empty(hdu.shape, kind)
    planes = pixels.reshape(1, 1, -1, *hdu.shape[-2:])
    for _, _, number, rows, _ in arrays.blocks(planes.shape):
        plane = np.unravel_index(number.start, hdu.shape[:-2]) if hdu.shape[:-2] else ()
        place = tuple(int(index) for index in plane)
        planes[0, 0, number.start, rows] = hdu.section[(*place, rows, slice(None))]
    return pixels


def _native(data: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _native_sigma(hdu: Any) -> NDArray[np.float32]:
    """The standard deviation that an error, variance or inverse variance plane stands for."""
    plane = _native(hdu.data).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if _name(hdu) in _VARIANCES:
            plane = np.sqrt(plane)
        elif _name(hdu) in _INVERSE_VARIANCES:
            plane = 1 / np.sqrt(plane)
    return plane.astype(np.float32)


def _flagged(hdu: Any, primary: fits.Header) -> Flags:
    flags = _native(hdu.data)
    telescope = str(primary.get("TELESCOP", "")).upper()
    if telescope in _UNUSABLE_BITS and _name(hdu) == "DQ":
        flags = flags & _UNUSABLE_BITS[telescope]
    return np.asarray(np.nan_to_num(flags) != 0)


def _without_single_axes(
    data: NDArray[Any], header: fits.Header, path: Path
) -> tuple[NDArray[Any], str]:
    """The pixels without leading axes of length 1, and a letter for each axis that is left."""
    letters = ""
    kept = []
    for axis in range(data.ndim - 2):
        if data.shape[axis] == 1:
            continue
        kept.append(data.shape[axis])
        kind = str(header.get(f"CTYPE{data.ndim - axis}", "")).upper()
        colours = data.shape[axis] <= 4 and not kind
        letters += "C" if kind.startswith((*_SPECTRAL, "STOKES", "LINEAR")) or colours else "T"
    if len(set(letters)) < len(letters):
        letters = "TZC"[: len(letters)] if len(letters) <= 3 else letters
    if len(letters) > 3:
        raise ReadError(f"{path}: an image of shape {data.shape} has more than five axes")
    return data.reshape(*kept, *data.shape[-2:]), f"{letters}YX"


def _pixel_size(header: fits.Header, axes: str) -> dict[str, tuple[float, str]]:
    """Pixel sizes in arcsec where the WCS is celestial; nothing where it is absent or broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            celestial = WCS(header).celestial
        scales = proj_plane_pixel_scales(celestial) * 3600
    except Exception:  # a WCS that astropy cannot make sense of says nothing about the pixels
        return {}
    if celestial.naxis != 2 or not np.all(np.isfinite(scales)) or np.any(scales <= 0):
        return {}
    if not celestial.wcs.ctype[0]:
        return {}
    return {"X": (float(scales[0]), "arcsec"), "Y": (float(scales[1]), "arcsec")}


@contextmanager
def _copy_of_source(header: Header) -> Iterator[fits.HDUList]:
    """The input's HDUs, or a single new one where the input was no FITS file or is gone."""
    source = Path(header.path)
    if header.cards and source.is_file():
        with _opened(source, do_not_scale_image_data=True) as hdus:  # bit for bit as they are
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


def _still_true(header: fits.Header) -> fits.Header:
    for keyword in {k for k in header if _STALE.fullmatch(k)}:
        header.remove(keyword, remove_all=True)
    return header


def _describe_pixels(header: fits.Header, picture: FileImage) -> None:
    """Linear coordinates for pixels that came without a FITS header."""
    if picture.header.unit:
        header["BUNIT"] = picture.header.unit
    for number, letter in enumerate(reversed(picture.axes), start=1):
        if letter in picture.header.pixel_size:
            size, unit = picture.header.pixel_size[letter]
            header[f"CDELT{number}"] = size
            header[f"CUNIT{number}"] = unit


def _name_time(header: fits.Header, picture: FileImage) -> None:
    """Say which axis is time where nobody did: a reader would take a few frames for colours."""
    for number, letter in enumerate(reversed(picture.axes), start=1):
        if letter == "T" and number == header["NAXIS"] and f"CTYPE{number}" not in header:
            if header.get("WCSAXES", number) < number:
                header["WCSAXES"] = number
            header[f"CTYPE{number}"] = "TIME"


def _record(header: fits.Header, picture: FileImage, provenance: Mapping[str, Any]) -> None:
    recipe, noise = provenance["recipe"], provenance["noise"]
    filled = 0 if picture.flagged is None else int(picture.flagged.sum())
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
    header["DIPDATE"] = (provenance["date"], "UTC")
    header["DIPRECIP"] = json.dumps(recipe)
    header["DIPPROV"] = json.dumps({k: v for k, v in provenance.items() if k != "recipe"})
    title = " ".join(recipe["title"].encode("ascii", "replace").decode().split())
    header["HISTORY"] = f"Restored by {title}, napari-dip."
    header["HISTORY"] = "DIPRECIP repeats it: napari-dip run THIS_FILE INPUT OUTPUT"
