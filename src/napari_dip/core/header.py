"""What a file says about its pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from napari_dip.core.units import convert

TOP_LEFT, BOTTOM_LEFT = 1, 4  # orientations: where the first row and column are seen


@dataclass(frozen=True, repr=False)
class Header:
    """What a file says about its pixels, carried from the reader to the writer.

    Attributes
    ----------
    path, hdu : str, int
        The file, and the FITS HDU in it.
    identity : tuple or None
        What distinguishes the file as it was read from a later one of the same name.
    name : str
        Name of the image (EXTNAME, OME image name).
    unit : str
        Unit of the pixel values, verbatim (BUNIT).
    pixel_size : mapping of axis letter to (size, unit)
        Such as ``{"X": (0.2167, "um")}``.
    channels : tuple of str
        Names along axis C.
    protocol : mapping of str to tuple of float
        Numbers of the acquisition by their names in BIDS, such as EchoTime, in its units (s, degree);
        one for each image along T.
    rgb : bool
        Whether the last axis holds the colors of a photograph.
    orientation : int
        Where the first row and column are meant to be seen, as TIFF and EXIF number it: 1 at the top
        and the left, 4 at the bottom and the left; 0 where that is not known. Pixels are never turned.
    icc_profile : bytes
        What the colors of a photograph mean.
    fits_header, primary_header : str
        The FITS header, one card a line; and that of the primary HDU, where the image is in an
        extension.
    description : str
        The TIFF ImageDescription: OME-XML or ImageJ's.
    remarks : tuple of str
        What was assumed, left out or found wrong when the file was read.
    """

    path: str = ""
    hdu: int = 0
    identity: tuple[int, int, int] | None = field(default=None, compare=False)
    name: str = ""
    unit: str = ""
    pixel_size: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    protocol: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    rgb: bool = False
    orientation: int = 0
    icc_profile: bytes = b""
    fits_header: str = ""
    primary_header: str = ""
    description: str = ""
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def bayer_pattern(self) -> str:
        """Colors of the pixels of a raw frame, such as ``"RGGB"``; empty if the header names none."""
        found = re.search(r"^(BAYERPAT|COLORTYP)= *'([RGB]{4}) *'", self.fits_header, re.MULTILINE)
        return found[2] if found else ""

    def pixel_ratio(self, letter: str) -> float:
        """Return the size of a pixel along an axis over that along X; 1 if it is unknown."""
        if not {letter, "X"} <= set(self.pixel_size):
            return 1.0
        size = convert(*self.pixel_size[letter], to=self.pixel_size["X"][1])
        return 1.0 if size is None else size / self.pixel_size["X"][0]

    @classmethod
    def of_frames(cls, headers: Sequence[Header]) -> Header:
        """Return the header of frames along T, of which each has its own: that of the first, with the
        protocol of all.
        """
        names = set.intersection(*(set(header.protocol) for header in headers))
        protocol = {
            name: tuple(number for header in headers for number in header.protocol[name])
            for name in sorted(names)
        }
        return replace(headers[0], protocol=protocol)

    def __repr__(self) -> str:
        values = {
            name: getattr(self, name) for name in ("path", "name", "unit", "pixel_size", "channels")
        }
        return f"Header({', '.join(f'{name}={value!r}' for name, value in values.items() if value)})"
