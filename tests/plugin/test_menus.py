"""The button *Paint*, and the menus beside it and of *Tools*."""

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_dip.plugin.docks.compare_dock import CompareDock
from napari_dip.plugin.layers import display
from napari_dip.plugin.layers.crop import crop_layer


@pytest.fixture
def dock(viewer):
    return viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]


def press(button, text):
    (action,) = [action for action in button.menu().actions() if action.text() == text]
    action.trigger()


@pytest.fixture
def find(dock, qtbot):
    """Chooses from the menu beside *Paint*, and returns its last message."""

    def find(text):
        press(dock.inputs.mask_button, text)
        qtbot.waitUntil(lambda: "Looking" not in dock.status.text(), timeout=300_000)
        return dock.status.text()

    return find


def test_missing_pixels_are_found_added_and_undone(viewer, dock, find, monkeypatch):
    pixels = np.random.default_rng(0).normal(100, 5, (60, 60)).astype(np.float32)
    pixels[5, 5:9] = np.nan
    pixels[20:24, 20:24] = 500
    image = viewer.add_image(pixels, name="a", contrast_limits=(50, 150), scale=(2, 2))
    assert "4 pixels that are NaN" in find("NaN pixels")
    mask = dock.inputs.mask.layer()
    assert mask.data.sum() == 4
    np.testing.assert_array_equal(mask.scale, image.scale)
    assert viewer.layers.selection.active == image

    assert "16 pixels that are saturated" in find("Saturated pixels")
    assert mask.data.sum() == 20
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (1, True))
    press(dock.inputs.mask_button, "Grow the mask ...")
    assert mask.data.sum() == 16 + 16 + 4 + 10
    mask.undo()
    assert mask.data.sum() == 20
    mask.undo()
    assert mask.data.sum() == 4
    monkeypatch.setattr(QInputDialog, "getDouble", lambda *_: (400.0, True))
    assert "16 pixels that are above 400" in find("Above a value ...")
    assert f"{60 * 60 - 20:,} pixels that are below 400" in find("Below a value ...")


def test_no_layer_is_added_if_nothing_is_found(viewer, dock, find):
    assert "Open an image first" in find("Saturated pixels")
    viewer.add_image(np.random.default_rng(0).normal(100, 5, (40, 40)), name="a")
    assert "No pixel is NaN" in find("NaN pixels")
    assert "Above a value" in find("Saturated pixels")
    press(dock.inputs.mask_button, "Grow the mask ...")
    assert "Choose a mask first" in dock.status.text()
    assert [layer.name for layer in viewer.layers] == ["a"]


def test_paint_selects_the_brush_in_the_mask_of_the_dock(viewer, dock):
    dock.inputs.paint_button.click()
    assert "Open an image first" in dock.status.text()
    image = viewer.add_image(np.random.default_rng(0).normal(100, 5, (40, 40)), name="a")
    dock.inputs.paint_button.click()
    mask = dock.inputs.mask.layer()
    assert (mask.name, mask.mode) == ("a - mask", "paint")
    mask.mode, viewer.layers.selection.active = "pan_zoom", image
    dock.inputs.paint_button.click()
    assert viewer.layers.selection.active == mask
    assert mask.mode == "paint"
    assert len(viewer.layers) == 2
    press(dock.inputs.mask_button, "New empty mask")
    assert len(viewer.layers) == 3
    assert dock.inputs.mask.layer() not in (image, mask)

    square = viewer.add_shapes([[10, 10], [10, 19], [19, 19], [19, 10]], name="b")
    dock.inputs.mask.choose(square)
    dock.inputs.paint_button.click()
    assert dock.inputs.mask.layer().mode == "paint"
    assert dock.inputs.mask.layer().data[12, 12] == 1
    assert dock.inputs.mask.layer().data[5, 5] == 0


def sky_file(folder, *, angle=0.0, mirrored=False):
    """A FITS file whose header rotates north away from up, with one flagged pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.ctype = (31, 21), (150.0, 20.0), ("RA---TAN", "DEC--TAN")
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    east = -1 if not mirrored else 1
    wcs.wcs.cd = np.array([[c, -s], [s, c]]) @ np.diag([east, 1]) * 1e-4
    pixels = np.random.default_rng(0).normal(100, 5, (40, 60)).astype(np.float32)
    flags = np.zeros(pixels.shape, np.uint8)
    flags[3, 4] = 1
    hdus = [fits.PrimaryHDU(pixels, wcs.to_header()), fits.ImageHDU(flags, name="DQ")]
    fits.HDUList(hdus).writeto(folder / "sky.fits")
    return folder / "sky.fits", wcs


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 37, 180, -100])
def test_north_is_up_and_east_is_left(viewer, dock, tmp_path, angle, mirrored):
    path, wcs = sky_file(tmp_path, angle=angle, mirrored=mirrored)
    viewer.open(path, plugin="napari-dip")
    press(dock.inputs.tools_button, "North up, east left")
    camera = getattr(viewer, "scene", viewer).camera
    if not hasattr(camera, "orientation2d"):  # before napari 0.6
        assert "cannot turn the view" in dock.status.text()
        return
    assert "North is up" in dock.status.text()
    layer, mask = viewer.layers["sky.fits"], viewer.layers["sky.fits - mask"]
    center = wcs.pixel_to_world(30, 20)
    directions = []
    for bearing in (0, 90):
        position = center.directional_offset_by(bearing * _degree(), 10e-4 * _degree())
        x, y = wcs.world_to_pixel(position)
        end, start = (np.array(layer.data_to_world(pixel)) for pixel in ((y, x), (20, 30)))
        directions.append(end - start)
    (up, east) = (direction / np.hypot(*direction) for direction in directions)
    vertical, horizontal = (str(getattr(o, "value", o)) for o in camera.orientation2d)
    assert (vertical, horizontal) == ("up", "right")
    np.testing.assert_allclose(up, (1, 0), atol=0.02)
    np.testing.assert_allclose(east, (0, -1), atol=0.02)
    np.testing.assert_allclose(layer.affine, mask.affine)
    press(dock.inputs.tools_button, "Row 1 at the bottom / at the top")
    assert str(getattr(camera.orientation2d[0], "value", "")) == "down"


def _degree():
    from astropy import units

    return units.deg


def test_without_coordinates_there_is_no_north(viewer, dock):
    viewer.add_image(np.zeros((40, 40)), name="a")
    press(dock.inputs.tools_button, "North up, east left")
    assert "no celestial coordinates" in dock.status.text()


def test_the_asinh_stretch_is_switched_on_and_off(viewer, dock):
    layer = viewer.add_image(np.linspace(0, 1, 1600).reshape(40, 40), colormap="gray")
    linear = layer.colormap.map(np.array([0.02, 0.5]))[:, 0]
    press(dock.inputs.tools_button, "Asinh stretch on / off")
    stretched = layer.colormap.map(np.array([0.02, 0.5]))[:, 0]
    expected = np.arcsinh(np.array([0.02, 0.5]) / display.DISPLAY_SOFTENING) / np.arcsinh(
        1 / display.DISPLAY_SOFTENING
    )
    np.testing.assert_allclose(stretched, expected, atol=0.01)
    press(dock.inputs.tools_button, "Asinh stretch on / off")
    np.testing.assert_allclose(layer.colormap.map(np.array([0.02, 0.5]))[:, 0], linear)


def test_a_crop_keeps_its_place_its_mask_and_its_coordinates(viewer, dock, tmp_path):
    path, wcs = sky_file(tmp_path)
    viewer.open(path, plugin="napari-dip")
    layer, mask = viewer.layers["sky.fits"], viewer.layers["sky.fits - mask"]
    layer.rotate = mask.rotate = 30
    layer.scale = mask.scale = (2, 3)
    part = crop_layer(viewer, layer, [mask], slice(2, 36), slice(4, 44))
    np.testing.assert_array_equal(part.data, layer.data[2:36, 4:44])
    np.testing.assert_allclose(part.data_to_world((0, 0)), layer.data_to_world((2, 4)))
    np.testing.assert_allclose(part.data_to_world((7, 9)), layer.data_to_world((9, 13)))
    dock.inputs.image.choose(part)
    assert dock.inputs.mask.layer().name == "sky.fits - mask [part]"
    assert dock.inputs.mask.layer().data[1, 0] == 1
    cards = part.metadata["napari-dip"]["header"].fits_header
    moved = WCS(fits.Header.fromstring(cards, sep="\n"))
    assert moved.pixel_to_world(0, 0).separation(wcs.pixel_to_world(4, 2)).arcsec < 1e-6


def test_the_noise_of_a_region_is_measured_where_it_is_drawn(viewer, dock):
    rng = np.random.default_rng(0)
    pixels = rng.normal(100, 3, (80, 80))
    pixels[40:] += rng.normal(0, 20, (40, 80))
    viewer.add_image(pixels, name="a")
    press(dock.inputs.tools_button, "Measure the noise in a rectangle ...")
    region = viewer.layers.selection.active
    assert region.mode == "add_rectangle"
    region.add_rectangles([[2, 2], [2, 70], [36, 70], [36, 2]])
    assert "rows 2 to 36, columns 2 to 70" in dock.status.text()
    assert 2.7 < dock.form.recipe().noise.sigma < 3.3


def test_two_images_are_compared(viewer, dock):
    press(dock.inputs.tools_button, "Compare two images ...")
    widget = next(w for w in QApplication.allWidgets() if isinstance(w, CompareDock))
    assert not widget.button.isEnabled()
    rng = np.random.default_rng(0)
    truth = np.tile(np.linspace(0, 100, 50), (50, 1))
    for sigma in (1, 10):
        viewer.add_image(truth + rng.normal(0, sigma, truth.shape), name=f"off by {sigma}")
    assert widget.first.layer() != widget.second.layer()
    known = viewer.add_image(truth, name="truth")
    first, second = viewer.layers["off by 1"], viewer.layers["off by 10"]
    for combo, layer in ((widget.first, first), (widget.second, second), (widget.truth, known)):
        combo.choose(layer)
    widget.button.click()
    psnrs = [float(number) for number in re.findall(r"' ([\d.]+) dB", widget.status.text())]
    np.testing.assert_allclose(psnrs, (40, 20), atol=0.3)
    difference = viewer.layers["off by 1 minus off by 10"]
    np.testing.assert_allclose(difference.data, first.data - second.data)
    assert difference.contrast_limits[0] == -difference.contrast_limits[1]
    small = viewer.add_image(np.zeros((9, 9)), name="small")
    widget.second.choose(small)
    widget.button.click()
    assert "choose images of the same shape" in widget.status.text()
    widget.second.choose(widget.first.layer())
    widget.button.click()
    assert "is chosen twice" in widget.status.text()
