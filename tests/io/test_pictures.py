"""JPEG and PNG files: all their bits, turned as they are seen, with holes where they are transparent."""

import struct
import zlib

import numpy as np
import pytest
from imagecodecs import png_encode
from PIL import Image

from napari_dip.core.errors import ReadError
from napari_dip.io import read, read_images, write_image

COLORS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


def test_jpeg_is_read_as_it_is_decoded(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "a.jpg", quality=80)
    (image,) = read_images(tmp_path / "a.jpg")
    np.testing.assert_array_equal(image.array, np.asarray(Image.open(tmp_path / "a.jpg")))
    assert (image.axes, image.rgb, image.mask) == ("YXC", True, None)


def test_jpeg_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera that was held upright
    Image.fromarray(COLORS[..., 0]).save(tmp_path / "a.jpeg", exif=exif, quality=95)
    (image,) = read_images(tmp_path / "a.jpeg")
    assert image.array.shape == (48, 40)
    assert np.abs(image.array - np.rot90(COLORS[..., 0], -1).astype(float)).mean() < 30


@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 3)])
def test_all_16_bits_of_a_png_are_read(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    (tmp_path / "a.png").write_bytes(png_encode(pixels))
    (image,) = read_images(tmp_path / "a.png")
    np.testing.assert_array_equal(image.array, pixels)
    assert image.axes == "YXC"[: len(shape)]


def test_a_palette_becomes_its_colors(tmp_path):
    palette = Image.fromarray(COLORS).quantize(16)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_images(tmp_path / "a.png")[0].array, palette.convert("RGB"))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_missing(tmp_path, mode):
    alpha = np.full((40, 48), 255, np.uint8)
    alpha[4, 5:8] = 0
    opaque = Image.fromarray(COLORS if mode == "RGBA" else COLORS[..., 0])
    opaque.putalpha(Image.fromarray(alpha))
    opaque.save(tmp_path / "a.png")
    observation = read(tmp_path / "a.png")
    assert (~observation.observed).sum() == 3 * (len(mode) - 1)


def test_colors_of_a_printer_are_refused(tmp_path):
    Image.fromarray(COLORS).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ReadError, match="CMYK"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_file_that_is_no_picture_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"GIF89a" + bytes(99))
    with pytest.raises(ReadError, match="cannot be read"):
        read(tmp_path / name)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path):
    Image.new("1", (8, 8)).save(tmp_path / "a.png")
    file = bytearray((tmp_path / "a.png").read_bytes())
    file[16:24] = struct.pack(">II", 150_000, 150_000)  # in its header
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    (tmp_path / "a.png").write_bytes(file)
    with pytest.raises(ReadError, match="more than the memory has room for"):
        read(tmp_path / "a.png")


def test_a_picture_is_written_as_tiff(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    write_image(tmp_path / "a.tif", read_images(tmp_path / "a.png")[0])
    np.testing.assert_array_equal(read_images(tmp_path / "a.tif")[0].array, COLORS)
