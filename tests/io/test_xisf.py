"""XISF: what is written is read again, and what other software may write is understood."""

import base64
import hashlib
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from astropy.io import fits

import napari_dip as dip
from napari_dip.core.errors import ReadError, ReadWarning, WriteError
from napari_dip.io.files import read_first_image, read_images, write_image
from napari_dip.io.image import ImageData
from napari_dip.run.recipe import Recipe


def xisf(path, *images):
    """Write a file by hand: elements whose attachments follow at the end, as (XML, block)."""
    space = 'xmlns="http://www.pixinsight.com/xisf"'
    start = 4096
    elements, blocks, position = "", b"", start
    for xml, block in images:
        elements += xml.replace("HERE", f"attachment:{position}:{len(block)}")
        blocks, position = blocks + block, position + len(block)
    header = (
        f'<?xml version="1.0" encoding="UTF-8"?><xisf version="1.0" {space}>{elements}</xisf>'.encode()
    )
    start_of_file = b"XISF0100" + struct.pack("<II", len(header), 0) + header
    path.write_bytes(start_of_file.ljust(start, b"\0") + blocks)
    return path


def shuffled(pixels):
    item = pixels.dtype.itemsize
    return np.frombuffer(pixels.tobytes(), np.uint8).reshape(-1, item).T.tobytes()


PIXELS = np.random.default_rng(0).normal(0.3, 0.1, (20, 30)).astype(np.float32)
IMAGE = (
    '<Image geometry="30:20:1" sampleFormat="Float32" bounds="0:1" colorSpace="Gray" {}'
    ' location="HERE"/>'
)
RAW = PIXELS.tobytes()


@pytest.mark.parametrize(
    ("attributes", "block"),
    [
        ("", RAW),
        (f'compression="zlib:{len(RAW)}"', zlib.compress(RAW)),
        (f'compression="zlib+sh:{len(RAW)}:4"', zlib.compress(shuffled(PIXELS))),
        (f'compression="lz4:{len(RAW)}"', imagecodecs.lz4_encode(RAW)),
        (f'compression="lz4hc+sh:{len(RAW)}:4"', imagecodecs.lz4_encode(shuffled(PIXELS), hc=True)),
        (f'compression="zstd:{len(RAW)}"', imagecodecs.zstd_encode(RAW)),
        ('byteOrder="big"', PIXELS.astype(">f4").tobytes()),
        (f'checksum="sha-256:{hashlib.sha256(RAW).hexdigest()}"', RAW),
    ],
    ids=["plain", "zlib", "zlib+sh", "lz4", "lz4hc+sh", "zstd", "big-endian", "checksum"],
)
def test_blocks_are_unpacked(tmp_path, attributes, block):
    (found,) = read_images(xisf(tmp_path / "a.xisf", (IMAGE.format(attributes), block)))
    assert found.axes == "YX"
    np.testing.assert_array_equal(found.array, PIXELS)


def test_parts_of_a_block_are_packed_one_by_one(tmp_path):
    parts = [zlib.compress(RAW[:1000]), zlib.compress(RAW[1000:])]
    sizes = f"{len(parts[0])},1000:{len(parts[1])},{len(RAW) - 1000}"
    attributes = f'compression="zlib:{len(RAW)}" subblocks="{sizes}"'
    (found,) = read_images(xisf(tmp_path / "a.xisf", (IMAGE.format(attributes), b"".join(parts))))
    np.testing.assert_array_equal(found.array, PIXELS)


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_pixels_inside_the_header_are_read(tmp_path, encoding):
    text = base64.b64encode(RAW).decode() if encoding == "base64" else RAW.hex()
    inline = IMAGE.format("").replace("HERE", f"inline:{encoding}").replace("/>", f">{text}</Image>")
    inside = f'<Data encoding="{encoding}">{text}</Data>'
    embedded = IMAGE.format("").replace("HERE", "embedded").replace("/>", f">{inside}</Image>")
    for xml in (inline, embedded):
        (found,) = read_images(xisf(tmp_path / "a.xisf", (xml, b"")))
        np.testing.assert_array_equal(found.array, PIXELS)


@pytest.mark.parametrize("storage", ["Planar", "Normal"])
def test_colors_are_channels(tmp_path, storage):
    colors = np.random.default_rng(0).integers(0, 65535, (3, 20, 30)).astype(np.uint16)
    xml = (
        '<Image id="M42" geometry="30:20:3" sampleFormat="UInt16" colorSpace="RGB"'
        f' pixelStorage="{storage}" location="HERE"/>'
    )
    stored = colors if storage == "Planar" else np.ascontiguousarray(np.moveaxis(colors, 0, -1))
    (found,) = read_images(xisf(tmp_path / "a.xisf", (xml, stored.tobytes())))
    assert (found.axes, found.header.channels, found.header.name) == ("CYX", ("R", "G", "B"), "M42")
    np.testing.assert_array_equal(found.array, colors)


def test_fits_keywords_come_and_go(tmp_path):
    header = fits.Header({"OBJECT": "it's M13", "GAIN": 1.5, "SIMPLE2": True, "BUNIT": "adu"})
    header["GAIN"] = (1.5, "electrons per adu")
    header["LONG"] = "x" * 150
    header["HISTORY"] = "flat-fielded"
    fits.writeto(tmp_path / "a.fits", PIXELS, header)
    image = read_first_image(tmp_path / "a.fits")
    write_image(tmp_path / "a.xisf", image)
    found = read_first_image(tmp_path / "a.xisf")
    np.testing.assert_array_equal(found.array, PIXELS)
    cards = fits.Header.fromstring(found.header.fits_header, sep="\n")
    for name in ("OBJECT", "GAIN", "SIMPLE2", "LONG"):
        assert cards[name] == header[name]
    assert cards.comments["GAIN"] == "electrons per adu"
    assert "flat-fielded" in str(cards["HISTORY"])
    assert found.header.unit == "adu"


def test_a_result_keeps_its_recipe_what_was_filled_and_its_uncertainty(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (48, 40)).astype(np.float32)
    image[20:24, 30:36] = np.nan
    quick = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed", "solver.max_steps": 4}
    result = dip.restore(image, Recipe.preset("denoise").with_settings({**quick, "ensemble.size": 2}))
    dip.write(tmp_path / "r.xisf", result)
    (found,) = read_images(tmp_path / "r.xisf")
    np.testing.assert_array_equal(found.array, result.image)
    np.testing.assert_array_equal(found.bad_mask, result.inpainted)
    np.testing.assert_array_equal(found.sigma, result.uncertainty)
    recipe = Recipe.from_json(dip.read_recipe(tmp_path / "r.xisf"))
    assert recipe.model_dump(mode="json") == result.provenance.recipe


def test_a_wrong_checksum_is_said(tmp_path):
    xml = IMAGE.format(f'checksum="sha1:{hashlib.sha1(b"other").hexdigest()}"')
    with pytest.warns(ReadWarning, match="checksum"):
        read_images(xisf(tmp_path / "a.xisf", (xml, RAW)))


@pytest.mark.parametrize(
    ("xml", "block", "words"),
    [
        ("", b"", "no image"),
        (IMAGE.format(""), RAW[:-8], "cut off"),
        (IMAGE.format("").replace("Float32", "Complex32"), RAW, "Complex32"),
        (IMAGE.format("").replace("30:20:1", "30:20:5:1"), RAW, "geometry"),
        (IMAGE.format("").replace("HERE", "path(other.xisb)"), RAW, "another file"),
        (IMAGE.format(f'compression="rar:{len(RAW)}"'), RAW, "rar"),
        (IMAGE.format("").replace("30:20", "3000000:2000000"), RAW, "room for"),
    ],
    ids=["empty", "cut", "complex", "volume", "distributed", "codec", "bomb"],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path, xml, block, words):
    with pytest.raises(ReadError, match=words):
        read_images(xisf(tmp_path / "a.xisf", (xml, block)))


def test_a_stack_is_not_written(tmp_path):
    with pytest.raises(WriteError, match="no times and depths"):
        write_image(tmp_path / "a.xisf", ImageData(np.zeros((3, 20, 30), np.float32), "TYX"))
    assert list(tmp_path.iterdir()) == []
