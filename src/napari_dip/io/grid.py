"""Coordinates on a finer grid: the header of an image whose pixels were divided."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from napari_dip.observation import Header

# A plate solution in these cards wins over CRPIX and CD, and cannot be scaled card by card.
_PLATE = re.compile(r"PPO\d+|AMD[XY]\d+|CNPIX[12]|[XY]PIXELSZ|PLTRA.*|PLTDEC.*|PLTSCALE")
# Sections of the detector, and its mapping to the image: no longer whole pixels.
_SECTIONS = re.compile(r"(DATA|TRIM|CCD|BIAS|DET|AMP|ORIG)SEC[A-Z]?|LT[MV]\d(_\d)?")
# Corrections of pixel coordinates by tables; those of intermediate coordinates (CQDIS) stay true.
_LOOKUP = re.compile(r"(CPDIS|DP|CPERR|D2IMDIS|D2IM|D2IMERR|AXISCORR)\d?(\..*)?")
_LENGTHS = ("PIXSCALE", "SECPIX", "SECPIX1", "SECPIX2", "PIXSCAL1", "PIXSCAL2", "XPIXSZ", "YPIXSZ")
_AREAS = ("PIXAR_A2", "PIXAR_SR")


def on_finer_grid(header: Header, zoom: tuple[float, float]) -> Header:
    """`header` for an image with `zoom` (Y, X) times as many pixels, whose outer edges are the same.

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
    return replace(header, pixel_size=sizes, cards=_scaled(header.cards, zoom) if header.cards else "")


def _scaled(text: str, zoom: tuple[float, float]) -> str:
    cards = fits.Header.fromstring(text, sep="\n")
    factors = {1: zoom[1], 2: zoom[0]}
    _without_plate(cards)
    lost = [keyword for keyword in cards if _LOOKUP.fullmatch(keyword)]
    if lost:
        cards["HISTORY"] = "Lookup-table distortions were left out: they are of the coarser grid."
    for keyword in {*lost, *(k for k in cards if _SECTIONS.fullmatch(k))}:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    mean = float(np.sqrt(zoom[0] * zoom[1]))
    scales: dict[str, float] = dict.fromkeys(_LENGTHS, mean) | dict.fromkeys(_AREAS, mean**2)
    for keyword in list(cards):
        if found := re.fullmatch(r"CRPIX([12])([A-Z]?)", keyword):
            s = factors[int(found[1])]
            cards[keyword] = (_float(cards[keyword]) - 0.5) * s + 0.5
        elif found := re.fullmatch(r"CD\d_([12])[A-Z]?", keyword):
            cards[keyword] = _float(cards[keyword]) / factors[int(found[1])]
        elif found := re.fullmatch(r"CDELT([12])([A-Z]?)", keyword):
            if f"CD1_1{found[2]}" not in cards and "CQDIS1" not in cards:
                cards[keyword] = _float(cards[keyword]) / factors[int(found[1])]
        elif found := re.fullmatch(r"([AB]P?)_(\d+)_(\d+)", keyword):
            own = factors[1 if found[1].startswith("A") else 2]
            p, q = int(found[2]), int(found[3])
            cards[keyword] = _float(cards[keyword]) * own / (factors[1] ** p * factors[2] ** q)
        elif keyword in scales and isinstance(cards[keyword], int | float):
            cards[keyword] = float(cards[keyword]) / scales[keyword]
    _scale_rotation(cards, factors)
    cards["HISTORY"] = f"Pixels divided by {zoom[1]:g} (x) and {zoom[0]:g} (y), coordinates kept."
    return str(cards.tostring(sep="\n", endcard=False, padding=False))


def _scale_rotation(cards: fits.Header, factors: Mapping[int, float]) -> None:
    """PC stands between pixels and CDELT: it takes what CDELT did not take already.

    That is the difference between the axes; or all of it, where a distortion stands between the two.
    """
    for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
        keyword = f"PC{i}_{j}"
        if keyword in cards and "CD1_1" not in cards:
            taken = 1.0 if "CQDIS1" in cards else factors[i]
            cards[keyword] = _float(cards[keyword]) * taken / factors[j]


def _without_plate(cards: fits.Header) -> None:
    """Put a linear solution in the place of a digitised plate's polynomial cards."""
    plate = [keyword for keyword in cards if _PLATE.fullmatch(keyword)]
    if not any(keyword.startswith("AMDX") for keyword in plate):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        solved = WCS(cards).to_header(relax=True)
    for keyword in plate:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword in [k for k in cards if re.fullmatch(r"CD\d_\d|PC\d_\d|CDELT\d|CROTA\d", k)]:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    for card in solved.cards:
        if card.keyword in cards and "." not in card.keyword:
            cards.remove(card.keyword, remove_all=True)
        cards.append(card, end=True)


def _float(value: object) -> float:
    return float(value)  # type: ignore[arg-type]
