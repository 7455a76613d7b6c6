"""napari's Open, Save and Open Sample, on a viewer without a window."""

import numpy as np
import pytest
from astropy.io import fits

from napari_dip.io import images
from napari_dip.plugin.files import (
    cell_sample,
    get_reader,
    read_layers,
    star_field_sample,
    write_layer,
)
from napari_dip.samples import star_field


def add(model, layers):
    return [model._add_layer_from_data(*layer) for layer in layers]


@pytest.fixture
def frame(tmp_path):
    star_field(seed=1, side=64, stars=10).writeto(tmp_path / "frame.fits")
    return tmp_path / "frame.fits"


def test_fits_opens_as_image_and_holes_with_its_scale(model, frame):
    add(model, get_reader(str(frame))(str(frame)))
    image, holes = model.layers
    np.testing.assert_array_equal(image.data, fits.getdata(frame))
    np.testing.assert_allclose(image.scale, 1.2)
    np.testing.assert_array_equal(holes.scale, image.scale)
    assert str(image.units[0]) == "arcsecond"
    assert holes.units == image.units
    bad = np.isnan(fits.getdata(frame)) | (fits.getdata(frame, "DQ") != 0)
    np.testing.assert_array_equal(holes.data != 0, bad)
    assert "RA---TAN" in image.metadata["header"]


def test_every_image_of_the_folder_opens_as_layers(model, data_folder):
    names = ["decam_sci_err_dq_assembled.fits", "l1448_13co.fits", "m13_rice.fits"]
    paths = [str(data_folder / "astronomy" / name) for name in names]
    paths += [
        str(p) for p in sorted((data_folder / "microscopy").glob("*.tif*")) if "10kx5k" not in p.name
    ]
    for path in paths:
        layers = [layer for added in add(model, read_layers(path)) for layer in added]
        assert layers, path
        model.layers.clear()


@pytest.mark.parametrize("suffix", [".fits", ".ome.tif"])
def test_a_restored_layer_is_saved_with_header_and_recipe(
    model, session, frame, tmp_path, quick, suffix
):
    add(model, read_layers(str(frame)))
    session.run(quick, model.layers[0], holes=model.layers[1])
    restored = next(layer for layer in model.layers if layer.name.endswith("restored"))
    data, attributes, _ = restored.as_layer_data_tuple()
    out = str(tmp_path / f"out{suffix}")
    assert write_layer(out, data, attributes) == [out]
    (image,) = images(out)
    np.testing.assert_array_equal(image.array, data)
    assert image.flagged.sum() == restored.metadata["napari-dip"]["result"].filled.sum()
    if suffix == ".fits":
        assert fits.getheader(out)["OBJECT"] == "simulated star field"
        assert fits.getheader(out)["DIPSEED"] == 0


def test_a_plain_layer_is_saved_with_its_sizes(model, tmp_path):
    layer = model.add_image(
        np.arange(40 * 50, dtype=np.uint16).reshape(40, 50), scale=(0.5, 0.25), units=("um", "um")
    )
    data, attributes, _ = layer.as_layer_data_tuple()
    write_layer(str(tmp_path / "a.tif"), data, attributes)
    (image,) = images(tmp_path / "a.tif")
    assert image.array.dtype == np.uint16
    assert image.header.pixel_size == {"Y": (0.5, "um"), "X": (0.25, "um")}


def test_a_pyramid_is_saved_at_full_resolution(model, tmp_path):
    full = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    layer = model.add_image([full, full[::2, ::2]], multiscale=True, axis_labels=("y", "x"))
    data, attributes, _ = layer.as_layer_data_tuple()
    write_layer(str(tmp_path / "a.tif"), data, attributes)
    np.testing.assert_array_equal(images(tmp_path / "a.tif")[0].array, full)


def test_a_frame_that_is_all_flagged_opens(model, tmp_path):
    planes = [
        fits.ImageHDU(np.eye(40), name="SCI"),
        fits.ImageHDU(np.ones((40, 40), np.uint8), name="MASK"),
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    add(model, read_layers(str(tmp_path / "a.fits")))
    assert len(model.layers) == 2


def test_a_residual_keeps_its_place_on_the_sky_but_not_its_sources_extensions(
    model, session, frame, tmp_path, quick
):
    add(model, read_layers(str(frame)))
    session.run(quick, model.layers[0])
    residual = next(layer for layer in model.layers if layer.name.endswith("residual"))
    data, attributes, _ = residual.as_layer_data_tuple()
    write_layer(str(tmp_path / "r.fits"), data, attributes)
    with fits.open(tmp_path / "r.fits") as hdus:
        assert len(hdus) == 1
        assert hdus[0].header["CTYPE1"] == "RA---TAN"
        assert "residual" in str(hdus[0].header["HISTORY"])


def test_holes_are_saved_too(model, tmp_path):
    layer = model.add_labels(np.eye(40, dtype=np.int32))
    data, attributes, _ = layer.as_layer_data_tuple()
    for suffix in (".fits", ".tif"):
        write_layer(str(tmp_path / f"a{suffix}"), data, attributes)
        np.testing.assert_array_equal(images(tmp_path / f"a{suffix}")[0].array, np.eye(40))


def test_samples_open(model):
    for sample in (star_field_sample, cell_sample):
        assert add(model, sample())
    assert {layer.name for layer in model.layers} >= {"star field", "star field - holes", "cell"}
