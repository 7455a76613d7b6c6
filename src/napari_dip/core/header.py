"""What a file says about its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Header:
    """What a file says about its pixels, carried from the reader to the writer.

    Attributes
    ----------
    path, hdu : str, int
        The file, and the FITS HDU in it.
    name : str
        The image's own name (EXTNAME, OME image name).
    unit : str
        Unit of the pixel values, verbatim (BUNIT).
    pixel_size : mapping of axis letter to (size, unit)
        Such as ``{"X": (0.2167, "um")}``.
    channels : tuple of str
        Names along axis C.
    cards, inherited : str
        The FITS header, 80 columns a card; and the primary header's, where this is an extension.
    description : str
        The TIFF ImageDescription: OME-XML or ImageJ's.
    """

    path: str = ""
    hdu: int = 0
    name: str = ""
    unit: str = ""
    pixel_size: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    fits_header: str = ""
    primary_header: str = ""
    description: str = ""
