"""The axes of a FITS image: which of them are the sky, and whether the others are channels or times."""

from __future__ import annotations

import math
import re

from astropy.io import fits

from napari_dip.core.errors import ReadError
from napari_dip.core.header import BOTTOM_LEFT, TOP_LEFT

MAX_COLORS = 4
MIN_SIDE_PX = 8  # of an image whose last axis may be its colors

_ROW_ORDERS = {TOP_LEFT: "TOP-DOWN", BOTTOM_LEFT: "BOTTOM-UP"}
_CELESTIAL = re.compile(r"RA(-|$)|DEC(-|$)|.LON|.LAT|..LN|..LT")
_CHANNELS = (
    *("FREQ", "ENER", "WAVN", "VRAD", "WAVE", "VOPT", "ZOPT", "AWAV", "VELO", "BETA"),  # spectral
    *("STOKES", "LINEAR", "RGB", "COLOR", "COLOUR", "BAND", "FILTER", "CHANNEL"),
)


def sky_axes(header: fits.Header) -> tuple[int, int]:
    """Return the numbers of the axes X and Y, as in NAXISn.

    They are the first two, but where CTYPE names two others as those of the sky: the velocity is the
    first axis of some surveys.
    """
    number = int(header.get("NAXIS", 2))
    sky = [n for n in range(1, number + 1) if _CELESTIAL.match(_kind(header, n))]
    return (sky[0], sky[1]) if number > 2 and len(sky) == 2 else (1, 2)


def image_axes(shape: tuple[int, ...], header: fits.Header) -> tuple[tuple[int, ...], str]:
    """Return the shape without axes of length 1, and a letter for each axis that is left.

    Colors, bands, Stokes parameters and the spectral axis are channels; so are up to four planes that
    have no name, and the last axis of an array as photographs have it.

    Raises
    ------
    ReadError
        If there are more axes than letters, and those of the sky are not the first.
    """
    if len(shape) == 3 and _has_colors_last(shape, header):
        return shape, "YXC"
    x, y = sky_axes(header)
    kept = [
        (size, {x: "X", y: "Y"}.get(number) or _letter(size, number, header))
        for size, number in zip(shape, range(len(shape), 0, -1), strict=True)
        if number in (x, y) or size > 1
    ]
    sizes, letters = [size for size, _ in kept], "".join(letter for _, letter in kept)
    others = letters.replace("X", "").replace("Y", "")
    if len(others) > 3:  # the first ones become one, of time
        if not letters.endswith("YX"):
            raise ReadError(f"an image of {len(others)} axes besides X = {x} and Y = {y} cannot be read")
        sizes, others = [math.prod(sizes[:-4]), *sizes[-4:]], others[-3:]
    if len(set(others)) < len(others):
        others = "TZC"[: len(others)]
    named = iter(others)
    named_all = (letter if letter in "XY" else next(named) for letter in letters[-len(sizes) :])
    return tuple(sizes), "".join(named_all)


def channel_names(header: fits.Header, number: int) -> tuple[str, ...]:
    """Return the names of so many bands, where the header has them all (BAND0, BAND1 ...)."""
    names = tuple(str(header.get(f"BAND{band}", "")).strip() for band in range(number))
    return names if all(names) else ()


def _kind(header: fits.Header, number: int) -> str:
    return str(header.get(f"CTYPE{number}", "")).upper().strip()


def _letter(size: int, number: int, header: fits.Header) -> str:
    """C or T, for an axis that is not of the sky."""
    kind = _kind(header, number)
    is_named = kind.startswith(_CHANNELS) or (not kind and bool(channel_names(header, size)))
    return "C" if is_named or (size <= MAX_COLORS and not kind) else "T"


def _has_colors_last(shape: tuple[int, ...], header: fits.Header) -> bool:
    """Whether an array is stored as photographs are, (Y, X, 3), with the colors as the first NAXIS."""
    is_small = shape[2] in (3, MAX_COLORS) and min(shape[:2]) >= MIN_SIDE_PX
    return is_small and (not _kind(header, 1) or _kind(header, 1).startswith(_CHANNELS))


def orientation_of(header: fits.Header) -> int:
    """Return where the first row is meant to be seen: at the bottom, unless ROWORDER is TOP-DOWN.

    References
    ----------
    .. [1] https://siril.readthedocs.io/en/stable/file-formats/FITS.html, for the card.
    """
    is_down = str(header.get("ROWORDER", "")).strip().upper() == "TOP-DOWN"
    return TOP_LEFT if is_down else BOTTOM_LEFT


def set_orientation(header: fits.Header, orientation: int) -> None:
    """Say where the first row is seen, if `orientation` is known and `header` says otherwise."""
    if orientation in _ROW_ORDERS and orientation != orientation_of(header):
        header["ROWORDER"] = (_ROW_ORDERS[orientation], "where the first row is seen")
