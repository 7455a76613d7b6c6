"""Open, Save and Open Sample of napari, on a viewer without a window."""

import numpy as np
import pytest
from astropy.io import fits

from napari_dip.datasets import star_field
from napari_dip.io import read_images
from napari_dip.plugin.contributions import (
    cell_sample,
    get_reader,
    read_layers,
    star_field_sample,
    write_layer,
)


def add(model, layers):
    return [model._add_layer_from_data(*layer) for layer in layers]


@pytest.fixture
def frame(tmp_path):
    star_field(seed=1, side=64, stars=10).writeto(tmp_path / "frame.fits")
    return tmp_path / "frame.fits"


def test_fits_opens_as_image_and_mask_with_its_scale(model, frame):
    add(model, get_reader(str(frame))(str(frame)))
    image, quality, mask = model.layers
    np.testing.assert_array_equal(image.data, fits.getdata(frame))
    np.testing.assert_allclose(image.scale, 1.2)
    np.testing.assert_array_equal(mask.scale, image.scale)
    assert str(image.units[0]) == "arcsecond"
    assert mask.units == quality.units == image.units
    bad = np.isnan(fits.getdata(frame)) | (fits.getdata(frame, "DQ") != 0)
    np.testing.assert_array_equal(mask.data != 0, bad)
    assert "RA---TAN" in image.metadata["header"]


@pytest.mark.filterwarnings("ignore:.* is one part of an image")
def test_every_real_image_opens_as_layers(model, data_folder):
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
    model, session, frame, tmp_path, fast_recipe, suffix
):
    add(model, read_layers(str(frame)))
    session.run(fast_recipe, model.layers[0], mask=model.layers[1])
    restored = next(layer for layer in model.layers if layer.name.endswith("[restored]"))
    data, attributes, _ = restored.as_layer_data_tuple()
    out = str(tmp_path / f"out{suffix}")
    assert write_layer(out, data, attributes) == [out]
    (image,) = read_images(out)
    np.testing.assert_array_equal(image.array, data)
    assert image.bad_mask.sum() == restored.metadata["napari-dip"]["result"].inpainted.sum()
    if suffix == ".fits":
        assert fits.getheader(out)["OBJECT"] == "simulated star field"
        assert fits.getheader(out)["DIPSEED"] == 0


def test_a_plain_layer_is_saved_with_its_sizes(model, tmp_path):
    layer = model.add_image(
        np.arange(40 * 50, dtype=np.uint16).reshape(40, 50), scale=(0.5, 0.25), units=("um", "um")
    )
    data, attributes, _ = layer.as_layer_data_tuple()
    write_layer(str(tmp_path / "a.tif"), data, attributes)
    (image,) = read_images(tmp_path / "a.tif")
    assert image.array.dtype == np.uint16
    assert image.header.pixel_size == {"Y": (0.5, "um"), "X": (0.25, "um")}


def test_a_pyramid_is_saved_at_full_resolution(model, tmp_path):
    full = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    layer = model.add_image([full, full[::2, ::2]], multiscale=True, axis_labels=("y", "x"))
    data, attributes, _ = layer.as_layer_data_tuple()
    write_layer(str(tmp_path / "a.tif"), data, attributes)
    np.testing.assert_array_equal(read_images(tmp_path / "a.tif")[0].array, full)


def test_an_image_with_all_pixels_flagged_opens(model, tmp_path):
    planes = [
        fits.ImageHDU(np.eye(40), name="SCI"),
        fits.ImageHDU(np.ones((40, 40), np.uint8), name="MASK"),
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    add(model, read_layers(str(tmp_path / "a.fits")))
    assert len(model.layers) == 2


def test_a_residual_keeps_the_coordinates_but_not_the_extensions_of_its_source(
    model, session, frame, tmp_path, fast_recipe
):
    add(model, read_layers(str(frame)))
    session.run(fast_recipe, model.layers[0])
    residual = next(layer for layer in model.layers if layer.name.endswith("[residual]"))
    data, attributes, _ = residual.as_layer_data_tuple()
    write_layer(str(tmp_path / "r.fits"), data, attributes)
    with fits.open(tmp_path / "r.fits") as hdus:
        assert len(hdus) == 1
        assert hdus[0].header["CTYPE1"] == "RA---TAN"
        assert "residual" in str(hdus[0].header["HISTORY"])


def test_labels_are_saved(model, tmp_path):
    layer = model.add_labels(np.eye(40, dtype=np.int32))
    data, attributes, _ = layer.as_layer_data_tuple()
    for suffix in (".fits", ".tif"):
        write_layer(str(tmp_path / f"a{suffix}"), data, attributes)
        np.testing.assert_array_equal(read_images(tmp_path / f"a{suffix}")[0].array, np.eye(40))


def test_samples_open(model):
    for sample in (star_field_sample, cell_sample):
        assert add(model, sample())
    assert {layer.name for layer in model.layers} >= {"star field", "star field - mask", "cell"}


@pytest.fixture
def flagged(tmp_path):
    """An image with Hubble's quality flags: hot pixels, cosmic rays, both, and a NaN."""
    rng = np.random.default_rng(0)
    science = rng.normal(100, 5, (40, 50)).astype(np.float32)
    science[9, 9] = np.nan
    quality = np.zeros((40, 50), np.int16)
    quality[5, 5:9], quality[9, 5:12], quality[5, 8] = 16, 4096, 16 + 4096
    planes = [fits.ImageHDU(science, name="SCI"), fits.ImageHDU(quality, name="DQ")]
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"}))
    fits.HDUList([primary, *planes]).writeto(tmp_path / "hst.fits")
    return tmp_path / "hst.fits"


def test_quality_flags_are_labels_with_their_names(model, flagged):
    add(model, read_layers(str(flagged)))
    quality = model.layers["hst.fits SCI - quality"]
    np.testing.assert_array_equal(quality.data, fits.getdata(flagged, "DQ"))
    flags = dict(zip(quality.features["index"], quality.features["flags"], strict=True))
    assert "hot" in flags[16]
    assert "cosmic ray" in flags[4096]
    assert flags[4112] == f"{flags[16]}, {flags[4096]}"
    assert flags[0] == "good"
    quality.visible = True
    status = quality.get_status((5, 5))
    assert "hot" in status.get("value", status["coordinates"])  # the latter before napari 0.6


def test_a_palette_and_min_is_white_are_displayed_as_in_the_file(model, tmp_path):
    import tifffile

    values = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
    palette = np.zeros((3, 256), np.uint16)
    palette[0], palette[1] = np.arange(256) * 257, np.arange(256)[::-1] * 257
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="palette", colormap=palette)
    tifffile.imwrite(tmp_path / "b.tif", values, photometric="miniswhite")
    for name in "ab":
        add(model, read_layers(str(tmp_path / f"{name}.tif")))
    colored, inverted = model.layers
    for layer in model.layers:
        np.testing.assert_array_equal(layer.data, values)
    np.testing.assert_allclose(colored.colormap.map(np.array([0.0]))[0], [0, 1, 0, 1])
    np.testing.assert_allclose(colored.colormap.map(np.array([1.0]))[0], [1, 0, 0, 1])
    assert tuple(colored.contrast_limits) == (0, 255)
    np.testing.assert_allclose(inverted.colormap.map(np.array([0.0]))[0], [1, 1, 1, 1])


def test_a_pyramid_opens_with_all_its_levels(model, data_folder, tmp_path):
    path = data_folder / "microscopy" / "pyramid_tiled_zstd_bigtiff_10kx5k.tiff"
    add(model, read_layers(str(path)))
    (layer,) = model.layers
    assert layer.multiscale
    assert [level.shape for level in layer.data][:3] == [
        (5000, 10000, 3),
        (2500, 5000, 3),
        (1250, 2500, 3),
    ]
    assert layer.rgb


def test_a_zarr_store_is_opened_and_saved(viewer, tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (40, 50)).astype(np.float32)
    layer = viewer.add_image(image, name="a")
    assert layer.save(str(tmp_path / "a.zarr"), plugin="napari-dip")
    (opened,) = viewer.open(tmp_path / "a.zarr", plugin="napari-dip")
    np.testing.assert_array_equal(opened.data, image)
