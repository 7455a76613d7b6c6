"""JPEG and PNG in: photographs and screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError
from napari_dip.core.header import TOP_LEFT, Header
from napari_dip.io.image import ImageData

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BYTES_OF_A_PIXEL = 8  # of four channels of 16 bits, the most that a PNG file can have


def picture_images(path: Path) -> Iterator[ImageData]:
    """Yield the image of a JPEG or PNG file, as it is meant to be seen: turned as EXIF says.

    What is transparent is missing.

    Raises
    ------
    ReadError
        If it is none, too large to unpack, or in the colors of a printer.
    """
    from PIL import ImageOps

    with _opened(path) as file:
        size = file.width * file.height * _BYTES_OF_A_PIXEL
        if size > arrays.unpacked_limit_bytes(path.stat().st_size):
            raise ReadError(
                f"{path}: an image of {size / 1e9:.3g} GB is more than the memory has room for"
            )
        if file.mode == "CMYK":
            raise ReadError(f"{path} has the colors of a printer, CMYK: save it as RGB")
        is_png, profile = file.format == "PNG", file.info.get("icc_profile")
        pixels = _png_pixels(path) if is_png else np.asarray(ImageOps.exif_transpose(file))
    opaque = None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels, opaque = pixels[..., :-1], pixels[..., -1] > 0
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    missing = None if opaque is None or opaque.all() else ~opaque
    if missing is not None and pixels.ndim == 3:
        missing = np.repeat(missing[..., None], pixels.shape[2], axis=2)
    rgb = pixels.ndim == 3 and pixels.dtype == np.uint8
    header = Header(path=str(path), rgb=rgb, orientation=TOP_LEFT, icc_profile=profile or b"")
    yield ImageData(
        np.ascontiguousarray(pixels), "YXC"[: pixels.ndim], bad_mask=missing, rgb=rgb, header=header
    )


def _opened(path: Path) -> ImageFile:
    """The file, whose pixels are not read yet, without Pillow's own limit for their number."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # it is that of all the process
    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _png_pixels(path: Path) -> NDArray[Any]:
    """The pixels of a PNG file; Pillow has 8 of the 16 bits of a color."""
    from imagecodecs import png_decode

    return np.asarray(png_decode(path.read_bytes()))
