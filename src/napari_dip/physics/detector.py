"""The detector as a FITS header describes it: gain, read noise, bias, saturation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.header import Header

# Keywords with one meaning come first.
_GAINS = ("EGAIN", "EPERADU", "CCDGAIN", "ATODGAIN", "GAIN", "GAIN1", "GAINA", "ATODGNA")
_CONVERSION = "ESO DET OUT1 CONAD"  # ESO's own GAIN is its inverse
_READ_NOISES = ("RDNOISE", "READNOIS", "READNSE", "ENOISE", "RON", "ESO DET OUT1 RON", "READNSEA")
_OVERSCANS = ("BIASSEC", "OVERSCAN")
_MAX_GAIN = 100.0  # electron / adu; cameras whose GAIN is the position of a dial write larger numbers


@dataclass(frozen=True)
class Detector:
    """What turns electrons into data units; None for what is unknown.

    Attributes
    ----------
    gain : float or None
        Electrons per data unit.
    read_noise : float or None
        Standard deviation of the read noise. [electron]
    offset : float or None
        Value of a pixel without signal: bias and pedestal. [data units]
    saturation : float or None
        Value at which the detector saturates. [data units]
    """

    gain: float | None = None
    read_noise: float | None = None
    offset: float | None = None
    saturation: float | None = None

    @classmethod
    def from_header(cls, header: Header, y: FloatArray) -> Detector:
        """Return what the header of the data `y` (..., Y, X) says, except what cannot be true.

        Notes
        -----
        Data in electrons have a gain of 1. The gain of data per second is multiplied by the exposure
        time, that of the mean of N frames by N. The offset is the median of the overscan, if the header
        gives its place and the image is not cropped. Many amateur cameras write the position of a dial
        to GAIN: EGAIN takes precedence, and numbers above 100 are ignored.
        """
        if not header.fits_header:
            return cls()
        cards = Cards(header, y)
        gain = cards.first(_GAINS, most=_MAX_GAIN)
        gain = gain if gain is not None else cards.first((_CONVERSION,), most=_MAX_GAIN)
        unit = header.unit.lower().replace(" ", "")
        if unit.startswith("e") and unit.split("/")[0] in ("electron", "electrons", "e", "e-"):
            gain = 1.0
        elif unit.startswith(("mjy", "jy", "erg", "10**", "uniterg", "w/m")):
            gain = None  # calibrated: the gain belongs to other units
        read_noise = cards.first(_READ_NOISES)
        averaged = cards.first(("NCOMBINE", "NCOMB")) or 1.0
        if gain is not None and unit.endswith(("/s", "/sec", "s-1")):
            exposure = cards.first(("EXPTIME", "EXPOSURE", "TEXPTIME"))
            gain = gain * exposure if exposure else None
        return cls(
            gain=None if gain is None else gain * averaged,
            read_noise=None if read_noise is None else read_noise * averaged**0.5,
            offset=cards.overscan(),
            saturation=cards.first(("SATURATE", "SATLEVEL")),
        )


class Cards:
    """The readable cards of the header, those of the extension before those of the primary HDU."""

    def __init__(self, header: Header, y: FloatArray) -> None:
        from astropy.io import fits

        self._y = y
        texts = (header.fits_header, header.primary_header)
        self._headers = [fits.Header.fromstring(text, sep="\n") for text in texts if text]

    def _values(self, keywords: Iterable[str]) -> Iterable[Any]:
        from astropy.io.fits import VerifyError

        for keyword in keywords:
            for header in self._headers:
                try:
                    yield header[keyword]
                except (KeyError, ValueError, VerifyError):  # absent, or not allowed by FITS
                    continue

    def first(self, keywords: Iterable[str], *, most: float = np.inf) -> float | None:
        """Return the first value of `keywords` that is a number above 0 and below `most`."""
        for value in self._values(keywords):
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < most:
                return float(value)
        return None

    def overscan(self) -> float | None:
        """Return the median of the overscan, if the image has all the pixels that its header counts."""
        height, width = self._y.shape[-2:]
        if (self.first(("NAXIS1",)), self.first(("NAXIS2",))) != (width, height):
            return None
        for value in self._values(_OVERSCANS):
            section = re.fullmatch(r"\[(\d+):(\d+),(\d+):(\d+)\]", str(value).replace(" ", ""))
            if section:
                left, right, bottom, top = (int(number) for number in section.groups())
                strip = self._y[..., bottom - 1 : top, left - 1 : right]
                if np.isfinite(strip).any():
                    return float(np.nanmedian(strip))
        return None
