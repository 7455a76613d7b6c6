"""World coordinates on a finer grid, or of a part of an image."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from napari_dip.core.header import Header
from napari_dip.core.world_coordinates import parse_wcs, replace_wcs
from napari_dip.io.fits.axes import sky_axes
from napari_dip.io.fits.cards import parse_cards

# Sections of the detector and its mapping to the image: untrue of the new pixels.
_SECTIONS = re.compile(r"(DATA|TRIM|CCD|BIAS|DET|AMP|ORIG)SEC[A-Z]?|LT[MV]\d(_\d)?")
# The capacity and the noise of a pixel of the detector: untrue of finer pixels.
_NO_LONGER_TRUE = re.compile(r"SATURATE|SATLEVEL|E?GAIN|CCDGAIN|EPERADU|RDNOISE|READNOIS|READNSE|ENOISE")
# Corrections of pixel coordinates by tables; those of intermediate coordinates (CQDIS) remain true.
_LOOKUP = re.compile(r"(CPDIS|DP|CPERR|D2IMDIS|D2IM|D2IMERR|AXISCORR)\d?(\..*)?")


def rescale_header(header: Header, zoom: tuple[float, float]) -> Header:
    """Return `header` for an image with `zoom` (Y, X) times as many pixels and the same outer edges.

    The coordinates of every point stay: CRPIX' = (CRPIX - 1/2) s + 1/2; CD, CDELT and the SIP
    polynomials are divided by the right powers of s. Distortions that are stored as lookup tables
    cannot be scaled by cards and are left out, with a note.

    References
    ----------
    .. [1] Greisen, Calabretta, "Representations of world coordinates in FITS", A&A 395 (2002) 1061.
    .. [2] Shupe et al., "The SIP convention", ADASS XIV (2005) 491.
    """
    if zoom == (1.0, 1.0):
        return header
    sizes = {
        letter: (size / {"Y": zoom[0], "X": zoom[1]}.get(letter, 1.0), unit)
        for letter, (size, unit) in header.pixel_size.items()
    }
    with warnings.catch_warnings():
        # Cards that astropy warns about, and a WCS that it completes: the user can do nothing about
        # them.
        warnings.simplefilter("ignore", AstropyWarning)
        cards = _rescale_linear_or_tables(header.fits_header, zoom) if header.fits_header else ""
    return replace(header, pixel_size=sizes, fits_header=cards)


def crop_header(header: Header, row: int, column: int) -> Header:
    """Return `header` for the part of an image that starts at `row` and `column`, counted from 0.

    CRPIX' = CRPIX - column (or row), for every coordinate system of the header; distortions are about
    that point and follow it. A digitized plate's cards and lookup tables are replaced as
    `rescale_header` does; sections of the detector, no longer true, are left out.

    References
    ----------
    .. [1] Greisen, Calabretta, "Representations of world coordinates in FITS", A&A 395 (2002) 1061.
    """
    if not header.fits_header or (row, column) == (0, 0):
        return header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        cards = parse_cards(header.fits_header)
        _without_plate(cards)
        _without_tables(cards)
        for keyword in [k for k in cards if _SECTIONS.fullmatch(k)]:
            cards.remove(keyword, ignore_missing=True, remove_all=True)
        for keyword in ("IMAGEW", "IMAGEH"):  # the size of the whole
            cards.remove(keyword, ignore_missing=True)
        x, y = sky_axes(cards)
        starts = {f"CRPIX{x}": column, f"CRPIX{y}": row, "X0_MP": column, "Y0_MP": row}
        for keyword in list(cards):
            start = starts.get(keyword[:6] if keyword.startswith("CRPIX") else keyword)
            if start is not None and (value := _number(cards, keyword)) is not None:
                cards[keyword] = value - start
        cards["HISTORY"] = f"Cut out from column {column + 1} and row {row + 1} on."
        text = str(cards.tostring(sep="\n", endcard=False, padding=False))
    return replace(header, fits_header=text)


def _without_tables(cards: fits.Header) -> None:
    """Remove distortions that are stored as lookup tables of the whole, coarser grid."""
    lost = [keyword for keyword in cards if _LOOKUP.fullmatch(keyword)]
    for keyword in lost:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    if lost:
        cards["HISTORY"] = "Lookup-table distortions were left out: they are of another grid."


def _rescale_linear_or_tables(text: str, zoom: tuple[float, float]) -> str:
    cards = parse_cards(text)
    y, x = zoom
    _without_plate(cards)
    _without_tables(cards)
    for keyword in {k for k in cards if _SECTIONS.fullmatch(k) or _NO_LONGER_TRUE.fullmatch(k)}:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    for alternate in {k[6:] for k in cards if re.fullmatch(r"CRPIX1[A-Z]?", k)} | {""}:
        _scale_linear(cards, alternate, dict(zip(sky_axes(cards), (x, y), strict=True)))
    for keyword in list(cards):
        if found := re.fullmatch(r"([AB])P?_(\d+)_(\d+)", keyword):
            own = x if found[1] == "A" else y
            _multiply(cards, keyword, own / (x ** int(found[2]) * y ** int(found[3])))
    mean = float(np.sqrt(x * y))
    sizes = {"PIXSCALE": mean, "SECPIX": mean, "SECPIX1": x, "SECPIX2": y, "PIXSCAL1": x}
    sizes |= {"PIXSCAL2": y, "XPIXSZ": x, "YPIXSZ": y, "PIXAR_A2": x * y, "PIXAR_SR": x * y}
    sizes |= {"SCALE": mean, "IMSCL_MP": mean, "IMAGEW": 1 / x, "IMAGEH": 1 / y, "R_SUN": 1 / mean}
    for keyword, factor in sizes.items():
        _multiply(cards, keyword, 1 / factor)
    for keyword, factor in (("X0_MP", x), ("Y0_MP", y)):  # the center of the Sun, counted from 0
        if (value := _number(cards, keyword)) is not None:
            cards[keyword] = (value + 0.5) * factor - 0.5
    cards["HISTORY"] = f"Pixels divided by {x:g} (x) and {y:g} (y), coordinates kept."
    return str(cards.tostring(sep="\n", endcard=False, padding=False))


def _scale_linear(cards: fits.Header, alternate: str, factors: Mapping[int, float]) -> None:
    """Scale CRPIX, and CD or CDELT or PC, of one of the coordinate systems."""
    matrix = any(re.fullmatch(rf"CD\d_\d{alternate}", keyword) for keyword in cards)
    # A distortion (CQDIS) is applied between PC and CDELT: then PC takes the whole factor.
    between = not alternate and "CQDIS1" in cards
    for axis, factor in factors.items():
        crpix = f"CRPIX{axis}{alternate}"
        if (value := _number(cards, crpix)) is not None:
            cards[crpix] = (value - 0.5) * factor + 0.5
        cdelt = f"CDELT{axis}{alternate}"
        is_linear = cdelt in cards or f"CTYPE{axis}{alternate}" in cards
        if not matrix and not between and is_linear:
            if cdelt not in cards:
                cards[cdelt] = 1.0
            _multiply(cards, cdelt, 1 / factor)
    for keyword in list(cards):
        if found := re.fullmatch(rf"CD\d_(\d){alternate}", keyword):
            _multiply(cards, keyword, 1 / factors.get(int(found[1]), 1.0))
        elif (found := re.fullmatch(rf"PC0*(\d)_?0*(\d){alternate}", keyword)) and not matrix:
            row, column = (factors.get(int(number), 1.0) for number in found.groups())
            _multiply(cards, keyword, (1.0 if between else row) / column)
    if between and not any(re.fullmatch(r"PC\d_\d", keyword) for keyword in cards):
        for axis, factor in factors.items():
            cards[f"PC{axis}_{axis}"] = 1 / factor


def _multiply(cards: fits.Header, keyword: str, factor: float) -> None:
    """Multiply a card, if it exists and is a number."""
    if (value := _number(cards, keyword)) is not None:
        cards[keyword] = value * factor


def _number(cards: fits.Header, keyword: str) -> float | None:
    try:
        value = cards[keyword]
    except (KeyError, ValueError, fits.VerifyError):
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _without_plate(cards: fits.Header) -> None:
    """Replace the polynomial cards of a digitized plate, which cannot be scaled, by a distortion."""
    if not any(keyword.startswith("AMDX") for keyword in cards):
        return
    replace_wcs(cards, parse_wcs(cards))
