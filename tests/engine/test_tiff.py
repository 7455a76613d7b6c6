import numpy as np
import pytest
import tifffile

from napari_dip import Header, Observation, Recipe, drain, read, restore, write
from napari_dip.errors import ReadError
from napari_dip.io import FileImage, images, recipe_of, save


def test_every_real_file_opens(data_folder):
    paths = sorted((data_folder / "microscopy").glob("*.tif*"))
    assert paths
    for path in paths:
        image = images(path)[0]
        assert len(image.axes) == image.array.ndim, path
        assert image.array.dtype.isnative
        np.testing.assert_array_equal(image.array, tifffile.imread(path, _multifile=False), str(path))


@pytest.mark.parametrize(
    ("name", "axes", "sizes", "channels"),
    [
        (
            "impy_lowsnr_tzcyx_hyperstack.tif",
            "TZCYX",
            {"X": (0.21667, "um"), "Y": (0.21667, "um"), "Z": (0.38, "um")},
            (),
        ),
        ("bead_psf_stack_um.tif", "ZYX", {"Z": (0.125, "um")}, ()),
        ("cells3d2ch.tiff", "CZYX", {"X": (1, "um"), "Z": (1, "um")}, ("membrane", "nuclei")),
        ("examplefly_palette_u8.tif", "YX", {}, ()),
        ("hela-cells.tif", "YXC", {}, ()),
    ],
)
def test_axes_sizes_and_channels_are_read(data_folder, name, axes, sizes, channels):
    image = images(data_folder / "microscopy" / name)[0]
    assert image.axes == axes
    assert image.header.channels == channels
    for letter, (size, unit) in sizes.items():
        assert image.header.pixel_size[letter][0] == pytest.approx(size, rel=1e-4)
        assert image.header.pixel_size[letter][1] == unit


def test_only_photographs_are_rgb(data_folder):
    assert images(data_folder / "microscopy" / "chromosomes_rgb_lzw.tif")[0].rgb
    assert not images(data_folder / "microscopy" / "hela-cells.tif")[0].rgb


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX", "ZYX", "TZCYX"])
def test_a_result_comes_back_with_axes_sizes_names_and_recipe(quick, tmp_path, axes):
    shape = [{"T": 2, "C": 3, "Z": 2, "Y": 33, "X": 40}[a] for a in axes]
    header = Header(
        pixel_size={"X": (0.2, "um"), "Y": (0.3, "um"), "Z": (1.5, "um"), "T": (2.0, "s")},
        channels=("a", "b", "c") if "C" in axes else (),
        description="the microscope's own words, 5 µm",
    )
    array = np.random.default_rng(0).normal(100, 9, shape)
    holes = np.zeros(shape, bool)
    holes[..., 10:12, 4:7] = axes.endswith("YX")
    observation = Observation.from_array(array, axes=axes, holes=holes, header=header)
    result = drain(restore(quick, observation))
    path = tmp_path / "out.ome.tif"
    write(path, result)
    (image,) = images(path)
    order = [axes.index(letter) for letter in image.axes]
    np.testing.assert_array_equal(image.array, result.image.transpose(order))
    assert image.axes.endswith("YX")
    for letter in axes.replace("C", ""):
        assert image.header.pixel_size[letter] == header.pixel_size[letter]
    assert image.header.channels == header.channels
    if holes.any():
        np.testing.assert_array_equal(image.flagged, result.filled.transpose(order))
    assert Recipe.from_json(recipe_of(path)) == quick
    with tifffile.TiffFile(path) as tiff:
        assert "the microscope's own words" in tiff.ome_metadata


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "int64", "bool", "float16", "float64"])
def test_saving_keeps_every_value(tmp_path, kind):
    limits = (-100, 100) if kind in ("int8", "int64", "float16", "float64") else (0, 2)
    array = np.random.default_rng(0).integers(*limits, (40, 50)).astype(kind)
    if kind == "int64":
        array[0, 0] = 2**40 + 5
    save(tmp_path / "a.tif", FileImage(array, "YX"))
    np.testing.assert_array_equal(images(tmp_path / "a.tif")[0].array, array)


def test_a_photograph_stays_one(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    save(tmp_path / "a.tif", FileImage(array, "YXC", rgb=True))
    (image,) = images(tmp_path / "a.tif")
    assert image.rgb
    np.testing.assert_array_equal(image.array, array)


def test_forbidden_characters_in_the_source_do_not_spoil_the_output(tmp_path):
    header = Header(name="a\x00b", description="abc\x01\ud800 µm", pixel_size={"X": (1.0, "arcsec")})
    save(tmp_path / "a.tif", FileImage(np.eye(40), "YX", header=header))
    assert "abc µm" in tifffile.TiffFile(tmp_path / "a.tif").ome_metadata
    np.testing.assert_array_equal(images(tmp_path / "a.tif")[0].array, np.eye(40))


def test_planes_that_the_file_promises_but_lacks_are_holes(tmp_path):
    path = tmp_path / "short.ome.tif"
    data = np.random.default_rng(0).integers(1, 255, (2, 40, 40), np.uint8)
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZYX"})
    promised = path.read_bytes().replace(b'SizeZ="2"', b'SizeZ="3"')
    path.write_bytes(promised)
    image = images(path)[0]
    if image.array.shape[0] == 3:
        assert image.flagged[2].all()
        assert not image.flagged[:2].any()
    else:
        np.testing.assert_array_equal(image.array, data)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"text", b"MM\0*" + b"\xff" * 50])
def test_a_broken_file_is_one_sentence_with_its_name(tmp_path, content):
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"broken\.tif") as error:
        images(path)
    assert "\n" not in str(error.value)


def test_fits_becomes_tiff_and_keeps_its_header(quick, tmp_path):
    from napari_dip.samples import star_field

    star_field(side=64, stars=5).writeto(tmp_path / "in.fits")
    write(tmp_path / "out.tif", drain(restore(quick, read(tmp_path / "in.fits"))))
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert "RA---TAN" in tiff.ome_metadata


def test_a_file_that_we_did_not_write_has_no_recipe(data_folder):
    with pytest.raises(ReadError, match="no recipe"):
        recipe_of(data_folder / "microscopy" / "maize_clsm.tif")
