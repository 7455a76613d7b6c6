"""OME-Zarr: what is written is read again, and what others write is understood."""

import numpy as np
import pytest
import zarr
from astropy.io import fits

import napari_dip as dip
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.header import Header
from napari_dip.io.files import read_first_image, read_images, write_image
from napari_dip.io.image import ImageData
from napari_dip.run.recipe import Recipe

QUICK = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed", "solver.max_steps": 4}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(100, 5, (2, 3, 96, 80)).astype(np.float32)


@pytest.fixture
def cells(pixels):
    sizes = {"Z": (1.5, "um"), "Y": (0.2, "um"), "X": (0.25, "um")}
    header = Header(name="cells", unit="electron", pixel_size=sizes, channels=("GFP", "DAPI"))
    return ImageData(pixels, "CZYX", header=header)


def test_pixels_axes_sizes_channels_and_unit_come_back(tmp_path, cells):
    write_image(tmp_path / "a.zarr", cells)
    (found,) = read_images(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.array, cells.array)
    assert found.axes == "CZYX"
    for name in ("name", "unit", "pixel_size", "channels"):
        assert getattr(found.header, name) == getattr(cells.header, name)


def test_lower_resolutions_are_means_in_the_same_place(tmp_path):
    image = np.zeros((1100, 1040), np.float32)
    image[:, 520:] = 8
    image[:2, :2] = np.nan
    write_image(tmp_path / "a.ome.zarr", ImageData(image, "YX"))
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    first, second, third = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [group[part["path"]].shape for part in (first, second, third)] == [
        (1100, 1040), (550, 520), (275, 260)
    ]  # fmt: skip
    assert group["1"].metadata.dimension_names == ("y", "x")
    assert np.isnan(group["1"][0, 0])
    assert group["2"][5, 129] == 0
    assert group["2"][5, 130] == 8
    scale, shift = third["coordinateTransformations"]
    assert (scale["scale"], shift["translation"]) == ([4.0, 4.0], [1.5, 1.5])


def test_integers_stay_integers_in_every_level(tmp_path):
    image = np.random.default_rng(0).integers(0, 4000, (600, 600)).astype(np.uint16)
    write_image(tmp_path / "a.zarr", ImageData(image, "YX"))
    found = read_first_image(tmp_path / "a.zarr")
    assert {level.dtype for level in (found.array, *found.levels)} == {np.dtype(np.uint16)}


def test_a_result_keeps_its_recipe_what_was_filled_and_its_uncertainty(tmp_path, pixels):
    image = pixels[0, 0].copy()
    image[20:24, 30:36] = np.nan
    recipe = Recipe.preset("denoise").with_settings({**QUICK, "ensemble.size": 2})
    result = dip.restore(image, recipe)
    dip.write(tmp_path / "r.zarr", result)
    found = read_first_image(tmp_path / "r.zarr")
    np.testing.assert_array_equal(found.array, result.image)
    np.testing.assert_array_equal(found.bad_mask, result.inpainted)
    np.testing.assert_array_equal(found.sigma, result.uncertainty)
    assert Recipe.from_json(dip.read_recipe(tmp_path / "r.zarr")) == recipe
    group = zarr.open_group(tmp_path / "r.zarr", mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["filled"]
    np.testing.assert_array_equal(group["residual/0"][...], result.normalized_residual)


def test_the_header_of_a_fits_file_survives(tmp_path):
    header = fits.Header({"OBJECT": "M13", "BUNIT": "adu", "CRVAL1": 10.0, "CTYPE1": "RA---TAN"})
    fits.writeto(tmp_path / "a.fits", np.ones((40, 40), np.float32), header)
    image = read_first_image(tmp_path / "a.fits")
    write_image(tmp_path / "a.zarr", image)
    found = read_first_image(tmp_path / "a.zarr").header
    assert (found.fits_header, found.unit) == (image.header.fits_header, "adu")


def other_store(path, attributes, shape=(3, 40, 50), version=2):
    """A store as other software writes it."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("s0", data=np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
    group.attrs.update(attributes)
    return group


MULTISCALES = [
    {
        "axes": [
            {"name": "z", "type": "space", "unit": "micrometer"},
            {"name": "y", "type": "space", "unit": "nanometer"},
            {"name": "x", "type": "space", "unit": "nanometer"},
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [{"type": "scale", "scale": [0.5, 100.0, 120.0]}],
            }
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [2.0, 1.0, 1.0]}],
        "version": "0.4",
    }
]


def test_version_0_4_is_read(tmp_path):
    other_store(tmp_path / "b.zarr", {"multiscales": MULTISCALES})
    found = read_first_image(tmp_path / "b.zarr")
    assert (found.axes, found.array.shape, found.array.dtype) == ("ZYX", (3, 40, 50), np.uint16)
    assert found.header.pixel_size == {"Z": (1.0, "um"), "Y": (100.0, "nm"), "X": (120.0, "nm")}


def test_the_wells_of_a_plate_are_images(tmp_path):
    root = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}
    for well in ("A/1", "B/2"):
        group = root.create_group(well)
        group.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
        image = group.create_group("0")
        image.create_array("s0", data=np.full((3, 40, 50), ord(well[0])))
        image.attrs["ome"] = {"version": "0.5", "multiscales": MULTISCALES}
    first, second = read_images(tmp_path / "plate.zarr")
    assert (first.header.name, second.header.name) == ("A/1/0", "B/2/0")
    assert (first.array.max(), second.array.max()) == (65, 66)
    named = read_first_image(f"{tmp_path / 'plate.zarr'}[B/2/0]")
    assert named.array.max() == 66


def test_a_store_on_a_server_is_read(cells, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    write_image(tmp_path / "a.zarr", cells)
    fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), "/bucket/a.zarr", recursive=True)
    found = read_first_image("memory://bucket/a.zarr")
    np.testing.assert_array_equal(found.array, cells.array)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: zarr.open_group(path, mode="w"), "no image"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b"no folder"), "not a folder"),
        (lambda path: None, "there is no folder"),
        (
            lambda path: other_store(
                path,
                {"multiscales": [{**MULTISCALES[0], "axes": [{"name": n} for n in ("lat", "y", "x")]}]},
            ),
            "lat, y, x",
        ),
    ],
    ids=["empty", "folder", "file", "nothing", "axes"],
)
def test_what_is_no_image_is_refused_in_one_sentence(tmp_path, make, words):
    make(tmp_path / "a.zarr")
    with pytest.raises(ReadError, match=words) as caught:
        read_images(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


def test_only_a_store_is_replaced_and_only_if_allowed(tmp_path, cells):
    target = tmp_path / "a.zarr"
    write_image(target, cells)
    with pytest.raises(WriteError, match="exists"):
        write_image(target, cells)
    (target / "old.txt").write_text("of the old store")
    write_image(target, cells, overwrite=True)
    assert not (target / "old.txt").exists()
    folder = tmp_path / "mine.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(WriteError, match="no zarr store"):
        write_image(folder, cells, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_failed_write_leaves_the_old_store_and_nothing_else(tmp_path, cells, monkeypatch):
    from napari_dip.io import ome_zarr

    write_image(tmp_path / "a.zarr", cells)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ome_zarr, "_halved", fail)
    large = ImageData(np.ones((1100, 1100), np.float32), "YX")
    with pytest.raises(WriteError, match="No space left"):
        write_image(tmp_path / "a.zarr", large, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert read_first_image(tmp_path / "a.zarr").array.shape == cells.array.shape


def test_a_large_array_is_lazy(tmp_path, cells, monkeypatch):
    from napari_dip.core import arrays

    write_image(tmp_path / "a.zarr", cells)
    monkeypatch.setattr(arrays, "fits_in_memory", lambda *_: False)
    found = read_first_image(tmp_path / "a.zarr")
    assert not isinstance(found.array, np.ndarray)
    np.testing.assert_array_equal(np.asarray(found.array[0, 0]), cells.array[0, 0])


def test_a_batch_and_the_command_line_take_stores(tmp_path, cells, monkeypatch):
    from typer.testing import CliRunner

    from napari_dip.cli import commands as cli
    from napari_dip.run.batch.plan import plan_jobs

    plane = ImageData(cells.array[0, 0], "YX", header=cells.header)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.zarr", plane)
    (job,) = plan_jobs(Recipe.preset("denoise"), [str(tmp_path / "in")], tmp_path / "out")
    assert job.target.endswith("a.zarr")
    changes = [word for item in QUICK.items() for word in ("--set", "=".join(map(str, item)))]
    command = ["run", "denoise", str(tmp_path / "in" / "a.zarr"), str(tmp_path / "b.zarr"), *changes]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code in (0, 3), done.output
    command = [
        "run",
        str(tmp_path / "b.zarr"),
        str(tmp_path / "in" / "a.zarr"),
        str(tmp_path / "c.zarr"),
    ]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code in (0, 3), done.output
    images = [read_first_image(tmp_path / name).array for name in ("b.zarr", "c.zarr")]
    np.testing.assert_array_equal(*images)
