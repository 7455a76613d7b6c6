"""Broken, hostile and odd TIFF files: one sentence each, soon and in little memory."""

import io
import struct

import numpy as np
import pytest
import tifffile

from napari_dip.io import read_images

PIXELS = np.random.default_rng(0).integers(1, 250, (40, 50), np.uint8)
STORED = PIXELS.tobytes()
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSET, SAMPLES, ROWS, COUNTS = (
    256, 257, 258, 259, 262, 273, 277, 278, 279,
)  # fmt: skip
TAGS = {
    WIDTH: 50, LENGTH: 40, BITS: 8, COMPRESSION: 1, PHOTOMETRIC: 1, OFFSET: 122, SAMPLES: 1, ROWS: 40,
    COUNTS: 2000,
}  # fmt: skip


def raw(changes=None, *, following=0, pixels=STORED):
    """A file of one page with these tags changed, or left out where None."""
    tags = {tag: value for tag, value in {**TAGS, **(changes or {})}.items() if value is not None}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + pixels


def written(array=PIXELS, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def ome(pages=1, *, before="", inside="", **sizes):
    """Pages of pixels below OME-XML of other sizes."""
    said = {"SizeX": 50, "SizeY": 40, "SizeZ": 1, "SizeC": 1, "SizeT": 1, "Type": "uint8", **sizes}
    attributes = " ".join(f'{name}="{value}"' for name, value in said.items())
    xml = (
        f'<?xml version="1.0"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" {attributes}>'
        f"{inside or '<TiffData/>'}</Pixels></Image></OME>"
    )
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        for page in range(pages):
            tiff.write(PIXELS, description=None if page else xml, metadata=None, contiguous=False)
    return file.getvalue()


LAUGHS = "".join(f'<!ENTITY {b} "{1000 * f"&{a};"}">' for a, b in ("ab", "bc", "cd"))
BROKEN = {
    "empty": (b"", "no TIFF file"),
    "text": (b"a letter to the editor", "no TIFF file"),
    "a FITS file": (b"SIMPLE  =" + bytes(5000), "no TIFF file"),
    "two letters": (b"II", "no TIFF file"),
    "nothing follows": (b"II*\0", "cannot be read"),
    "random": (b"II*\0" + np.random.default_rng(2).bytes(4000), "holds no image"),
    "a page beyond the end": (b"II*\0" + struct.pack("<I", 10**6) + bytes(100), "holds no image"),
    "no page": (b"II*\0" + bytes(100), "holds no image"),
    "65,535 tags": (b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(1000), "number of tags"),
    "2^60 tags": (b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(50), "number of tags"),
    "no width": (raw({WIDTH: None}), "40 x 0"),
    "no length": (raw({LENGTH: None}), "0 x 50"),
    "no width at all": (raw({WIDTH: 0}), "40 x 0"),
    "no place": (raw({OFFSET: None}), "missing data offset"),
    "a place beyond the end": (raw({OFFSET: 10**8}), "0 of 2,000 bytes"),
    "half": (raw(pixels=STORED[:1000]), "1,000 of 2,000 bytes"),
    "13 bits": (raw({BITS: 13}), "cannot be read"),
    "65 bits": (raw({BITS: 65}), "65 bits"),
    "unknown codec": (raw({COMPRESSION: 9999}), "9999"),
    "rubbish for LZW": (raw({COMPRESSION: 5}), "cannot be read"),
    "rubbish for deflate": (raw({COMPRESSION: 8}), "cannot be read"),
    "rubbish for JPEG": (raw({COMPRESSION: 7}), "cannot be read"),
    "rubbish for ZSTD": (raw({COMPRESSION: 50000}), "cannot be read"),
    "4 EB": (raw({WIDTH: 2**31, LENGTH: 2**31}), "or a trap"),
    "a deflate bomb": (
        raw({WIDTH: 200_000, LENGTH: 200_000, ROWS: 200_000, COMPRESSION: 8}),
        "40 GB from 2,122 bytes",
    ),
    "a deflate bomb of 400 MB": (
        raw({WIDTH: 20_000, LENGTH: 20_000, ROWS: 20_000, COMPRESSION: 8}),
        "0.4 GB from 2,122 bytes",
    ),
    "a tile of 100 TB": (raw({322: 2**24, 323: 2**22, 324: 122, 325: 2000}), "or a trap"),
    "65,535 samples": (raw({SAMPLES: 65535}), "cut off"),
    "a billion planes": (ome(SizeT=10**6, SizeZ=1000), "promises 1,000,000,000 planes and holds 1"),
    "one dimension": (written(np.zeros(50, np.uint8)), "two sides are needed"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_gets_its_sentence(tmp_path, refused, kind):
    content, said = BROKEN[kind]
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    refused(path, said)
    (tmp_path / "good.tif").write_bytes(written())
    np.testing.assert_array_equal(read_images(tmp_path / "good.tif")[0].array, PIXELS)


OUTSIDE = '<TiffData IFD="0"><UUID FileName="../../../../etc/passwd">urn:uuid:1</UUID></TiffData>'
ODD = {
    "pages in a circle": raw(following=8),
    "XML that says another size": ome(SizeX=60),
    "XML that says a far larger size": ome(SizeX=5000, SizeY=5000),
    "XML that says another type": ome(Type="float"),
    "XML of an unknown type": ome(Type="quux"),
    "XML with a negative size": ome(SizeZ=-3),
    "XML that reads a file": ome(before='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "XML of a billion laughs": ome(before=f'<!DOCTYPE a [<!ENTITY a "ha">{LAUGHS}]>', inside="&d;"),
    "XML that leads out of the folder": ome(inside=OUTSIDE),
    "ImageJ that counts wrong": written(imagej=True).replace(b"images=1", b"images=9"),
    "a thumbnail of the least size": written(tile=(16, 16)),
    "BigTIFF": written(bigtiff=True),
    "big-endian": written(byteorder=">"),
    "zero is white": written(photometric="miniswhite"),
    "a palette": written(photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_opens_all_the_same(tmp_path, kind):
    path = tmp_path / "odd.tif"
    path.write_bytes(ODD[kind])
    np.testing.assert_array_equal(read_images(path)[0].array, PIXELS)


def test_colours_that_are_stored_plane_by_plane_are_a_photograph(tmp_path):
    colours = np.random.default_rng(0).integers(1, 250, (3, 40, 50), np.uint8)
    (tmp_path / "a.tif").write_bytes(written(colours, photometric="rgb", planarconfig="separate"))
    (image,) = read_images(tmp_path / "a.tif")
    assert image.rgb
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.array, np.moveaxis(colours, 0, -1))


def test_planes_that_are_promised_but_absent_are_missing(tmp_path):
    (tmp_path / "a.tif").write_bytes(ome(3, SizeZ=9))
    (image,) = read_images(tmp_path / "a.tif")
    assert image.bad_mask.sum() == 6 * PIXELS.size
    np.testing.assert_array_equal(image.array[~image.bad_mask], np.tile(PIXELS.ravel(), 3))
