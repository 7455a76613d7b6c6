"""The detector as a FITS header tells it: gain, read noise, bias, saturation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_dip.core.observation import Observation

# First the keywords with one meaning only.
_GAINS = ("EGAIN", "EPERADU", "CCDGAIN", "ATODGAIN", "GAIN", "GAIN1", "GAINA", "ATODGNA")
_CONVERSION = "ESO DET OUT1 CONAD"  # ESO's own GAIN is its inverse
_READ_NOISES = ("RDNOISE", "READNOIS", "READNSE", "ENOISE", "RON", "ESO DET OUT1 RON", "READNSEA")
_OVERSCANS = ("BIASSEC", "OVERSCAN")
_MAX_GAIN = 100.0  # electron / adu; cameras whose GAIN is a dial write larger numbers


@dataclass(frozen=True)
class Detector:
    """What turns electrons into data units; None for what nobody said.

    Attributes
    ----------
    gain : float or None
        Electrons in one data unit.
    read_noise : float or None
        Standard deviation of the reading of one pixel. [electron]
    offset : float or None
        Value of a pixel without any light: bias and pedestal. [data units]
    saturation : float or None
        Value above which the detector says nothing. [data units]
    """

    gain: float | None = None
    read_noise: float | None = None
    offset: float | None = None
    saturation: float | None = None

    @classmethod
    def from_header(cls, frame: Observation) -> Detector:
        """What the header of `frame` says, less what cannot be true.

        Data in electrons have a gain of 1; data per second are multiplied by the exposure time,
        and the mean of N frames by N. The offset is the median of the overscan, where the header
        says that there is one and the frame is uncut. Many amateur cameras write the position of a
        dial under GAIN: EGAIN comes first, and numbers beyond 100 are refused.
        """
        if not frame.header.fits_header:
            return cls()
        cards = _Cards(frame)
        gain = cards.first(_GAINS, most=_MAX_GAIN)
        gain = gain if gain is not None else cards.first((_CONVERSION,), most=_MAX_GAIN)
        unit = frame.header.unit.lower().replace(" ", "")
        if unit.startswith("e") and unit.split("/")[0] in ("electron", "electrons", "e", "e-"):
            gain = 1.0
        elif unit.startswith(("mjy", "jy", "erg", "10**", "uniterg", "w/m")):
            gain = None  # calibrated: the gain is that of other units
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


class _Cards:
    """The header's cards that can be read, the extension's before the primary's."""

    def __init__(self, frame: Observation) -> None:
        from astropy.io import fits

        self._frame = frame
        texts = (frame.header.fits_header, frame.header.primary_header)
        self._headers = [fits.Header.fromstring(text, sep="\n") for text in texts if text]

    def _values(self, keywords: Iterable[str]) -> Iterable[Any]:
        from astropy.io.fits import VerifyError

        for keyword in keywords:
            for header in self._headers:
                try:
                    yield header[keyword]
                except (KeyError, ValueError, VerifyError):  # absent, or nothing that FITS allows
                    continue

    def first(self, keywords: Iterable[str], *, most: float = np.inf) -> float | None:
        """The first of `keywords` that holds a number above 0 and below `most`."""
        for value in self._values(keywords):
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < most:
                return float(value)
        return None

    def overscan(self) -> float | None:
        """The median of the overscan, if the frame has all the pixels that its header speaks of."""
        height, width = self._frame.y.shape[-2:]
        if (self.first(("NAXIS1",)), self.first(("NAXIS2",))) != (width, height):
            return None
        for value in self._values(_OVERSCANS):
            found = re.fullmatch(r"\[(\d+):(\d+),(\d+):(\d+)\]", str(value).replace(" ", ""))
            if found:
                left, right, bottom, top = (int(number) for number in found.groups())
                strip = self._frame.y[..., bottom - 1 : top, left - 1 : right]
                if np.isfinite(strip).any():
                    return float(np.nanmedian(strip))
        return None
