"""ASDF files: Roman's arrays, others, and what must not be followed."""

import io

import numpy as np
import pytest

from napari_dip.core.errors import ReadError
from napari_dip.io import read_images, read_recipe, write_image

asdf = pytest.importorskip("asdf", reason="asdf is not installed")

SKY = np.random.default_rng(0).normal(100, 9, (40, 48)).astype(np.float32)


def written(tree, **options):
    file = io.BytesIO()
    asdf.AsdfFile(tree).write_to(file, **options)
    return file.getvalue()


@pytest.fixture
def roman(tmp_path):
    quality = np.zeros(SKY.shape, np.uint32)
    quality[3, 3:7], quality[5, 5] = 1, 4  # do not use; a jump
    error = np.full(SKY.shape, 9, np.float32)
    error[8, 8] = np.nan
    tree = {"roman": {"data": SKY, "err": error, "dq": quality, "meta": {"telescope": "ROMAN"}}}
    (tmp_path / "a.asdf").write_bytes(written(tree))
    return tmp_path / "a.asdf"


def test_romans_data_come_with_errors_and_flags(roman):
    (image,) = read_images(roman)
    np.testing.assert_array_equal(image.array, SKY)
    assert image.header.name == "roman.data"
    assert image.bad_mask.sum() == 5
    assert image.sigma[0, 0] == 9
    assert image.quality.flag_counts() == {1: ("do not use", 4), 4: ("jump", 1)}
    assert image.to_observation().observed.sum() == SKY.size - 5


def test_errors_without_flags_mark_their_own_holes(tmp_path):
    error = np.full(SKY.shape, 9, np.float32)
    error[8, 8:10] = np.nan
    (tmp_path / "a.asdf").write_bytes(written({"data": SKY, "err": error}))
    image = read_images(tmp_path / "a.asdf")[0]
    assert image.bad_mask.dtype == bool
    assert image.bad_mask.sum() == 2


@pytest.mark.parametrize("compression", [None, "zlib", "bzp2"])
def test_every_array_of_another_file_is_an_image(tmp_path, compression):
    tree = {"a": SKY, "b": {"c": np.zeros((2, 40, 48), np.int16)}, "line": np.zeros(9), "words": "x"}
    (tmp_path / "a.asdf").write_bytes(written(tree, all_array_compression=compression))
    found = read_images(tmp_path / "a.asdf")
    assert {image.header.name: image.axes for image in found} == {"a": "YX", "b.c": "TYX"}
    np.testing.assert_array_equal(found[0].array, SKY)
    write_image(tmp_path / "a.fits", found[0])
    np.testing.assert_array_equal(read_images(tmp_path / "a.fits")[0].array, SKY)


GOOD = written({"data": SKY})
OUTSIDE = (
    b"#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
)
BROKEN = {
    "empty": (b"", "no ASDF file"),
    "FITS": (b"SIMPLE  =" + bytes(5000), "no ASDF file"),
    "text": (b"a letter to the editor", "no ASDF file"),
    "only its magic": (b"#ASDF 1.0.0\n", "a.asdf"),
    "an endless tree": (
        b"#ASDF 1.0.0\n%YAML 1.1\n--- \na: |\n" + b"  x\n" * (5 * 2**20), "no end within 16 MB",
    ),
    "cut off": (GOOD[:-2000], "cannot be read"),
    "cut off in the tree": (GOOD[:200], "a.asdf"),
    "no array": (written({"a": 1}), "no image"),
    "arrays elsewhere": (
        OUTSIDE + b"data: !core/ndarray-1.0.0 {source: ../../passwd, shape: [40, 48], datatype: uint8,"
        b" byteorder: little}\n...\n",
        "other files",
    ),
    "arrays on the network": (
        OUTSIDE + b'data: !core/ndarray-1.0.0 {source: "http://localhost/a.asdf", shape: [40, 48],'
        b" datatype: uint8, byteorder: little}\n...\n",
        "other files",
    ),
    "an object": (OUTSIDE + b"a: !!python/object/apply:os.system ['true']\n...\n", "a.asdf"),
    "more than the memory": (
        GOOD.replace(b"shape: [40, 48]", b"shape: [99999999, 99999]"), "more than the memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_gets_its_sentence(tmp_path, refused, kind):
    content, said = BROKEN[kind]
    (tmp_path / "a.asdf").write_bytes(content)
    refused(tmp_path / "a.asdf", said)


def test_an_asdf_file_carries_no_recipe(roman):
    with pytest.raises(ReadError, match="no recipe"):
        read_recipe(roman)


def test_without_the_package_it_is_said_what_is_missing(roman, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "asdf", None)
    with pytest.raises(ReadError, match=r"napari-dip\[asdf\]"):
        read_images(roman)
