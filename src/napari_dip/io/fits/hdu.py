"""A FITS file and its HDUs: their names, headers and pixels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadWarning
from napari_dip.io.fits.scan import validate_fits


@contextmanager
def open_fits(path: Path, **options: bool) -> Iterator[fits.HDUList]:
    """Open a file whose headers and data are complete; a wrong checksum is a warning.

    Raises
    ------
    ReadError
        If they are not.
    """
    source = validate_fits(path)
    options.setdefault("checksum", arrays.fits_in_memory((path.stat().st_size,), np.uint8))
    with warnings.catch_warnings():
        # A card that astropy warns about is kept as it is: the user can do nothing about it.
        warnings.simplefilter("ignore", AstropyWarning)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AstropyWarning)
            hdus = fits.open(source, memmap=False, **options)
            hdus.readall()  # which compares the checksums
        with hdus:
            _warn_of_checksums(path, caught)
            yield hdus


def _warn_of_checksums(path: Path, caught: Iterable[warnings.WarningMessage]) -> None:
    pattern = r"verification failed for HDU \('(.*)', \d+\)"
    wrong = [found[1] for one in caught if (found := re.search(pattern, str(one.message)))]
    if wrong:
        names = ", ".join(dict.fromkeys(wrong))
        warnings.warn(
            f"{path}: the checksum of {names} is wrong: it was changed or damaged after it was written."
            " Its pixels are shown as they are",
            ReadWarning,
            stacklevel=4,
        )


def has_pixels(hdu: Any) -> bool:
    """Whether an HDU is an image of two axes or more that is not empty."""
    kinds = fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU
    if not isinstance(hdu, kinds) or isinstance(hdu, fits.GroupsHDU):
        return False
    shape = shape_of(hdu)
    return len(shape) >= 2 and 0 not in shape


def shape_of(hdu: Any) -> tuple[int, ...]:
    """Return the shape of the pixels; constant arrays of Hubble have two cards instead of pixels."""
    if hdu.shape or not {"NPIX1", "NPIX2", "PIXVALUE"} <= set(hdu.header):
        return tuple(hdu.shape or ())
    return int(hdu.header["NPIX2"]), int(hdu.header["NPIX1"])


def data_of(hdu: Any) -> NDArray[Any]:
    """Return the pixels in data units, also of a constant array."""
    return hdu.data if hdu.shape else np.full(shape_of(hdu), hdu.header["PIXVALUE"])


def name_of(hdu: Any) -> str:
    """Return EXTNAME in capitals."""
    return str(hdu.name).upper().strip()


def native(data: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous data in the byte order of the processor."""
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
