"""The world coordinates that the cards of a FITS header describe."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

# The plate solution of a digitized sky survey. It takes precedence over CRPIX and CD.
_PLATE_CARD = re.compile(r"PPO\d+|AMD[XY]\d+|CNPIX[12]|[XY]PIXELSZ|PLTRA.*|PLTDEC.*|PLTSCALE")


def parse_wcs(header: fits.Header) -> WCS:
    """Return the world coordinates of a header; `header` is not changed.

    A plate solution beside its own translation into a TPD distortion (as astropy writes it) is left out:
    wcslib 8 overruns its memory on such headers, and the translation is what holds for the pixels.
    """
    from astropy.wcs import WCS, FITSFixedWarning

    if "CQDIS1" in header and any(_PLATE_CARD.fullmatch(keyword) for keyword in header):
        header = header.copy()
        _remove(header, _PLATE_CARD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def replace_wcs(header: fits.Header, wcs: WCS) -> None:
    """Replace the world coordinates of `header`, also those of a plate solution, by those of `wcs`."""
    _remove(header, _PLATE_CARD)
    _remove(header, re.compile(r"CD\d_\d|PC\d_\d|CDELT\d|CROTA\d"))
    for card in wcs.to_header(relax=True).cards:
        if card.keyword in header and "." not in card.keyword:
            header.remove(card.keyword, remove_all=True)
        header.append(card, end=True)


def _remove(header: fits.Header, pattern: re.Pattern[str]) -> None:
    for keyword in [keyword for keyword in header if pattern.fullmatch(keyword)]:
        header.remove(keyword, ignore_missing=True, remove_all=True)
