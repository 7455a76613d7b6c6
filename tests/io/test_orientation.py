"""Where the first row is seen, and what colors mean, comes through formats that say it differently."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image, ImageCms

from napari_dip.core.header import BOTTOM_LEFT, TOP_LEFT, Header
from napari_dip.io import read_first_image
from napari_dip.io.files import write_image
from napari_dip.io.image import ImageData

PIXELS = np.arange(30, dtype=np.float32).reshape(5, 6)


def through(source, target):
    """Read a file, and write its image to another."""
    write_image(target, read_first_image(source))
    return read_first_image(target)


@pytest.mark.parametrize("suffix", [".fits", ".ome.tif", ".tif", ".xisf"])
@pytest.mark.parametrize("order", ["TOP-DOWN", "BOTTOM-UP", None])
def test_the_order_of_rows_comes_through_two_formats(tmp_path, suffix, order):
    hdu = fits.PrimaryHDU(PIXELS)
    if order:
        hdu.header["ROWORDER"] = order
    hdu.writeto(tmp_path / "in.fits")
    expected = TOP_LEFT if order == "TOP-DOWN" else BOTTOM_LEFT
    there = through(tmp_path / "in.fits", tmp_path / f"there{suffix}")
    back = through(tmp_path / f"there{suffix}", tmp_path / "back.fits")
    for image in (there, back):
        assert image.header.orientation == expected
        np.testing.assert_array_equal(image.array, PIXELS)  # pixels are never turned
    found = fits.getheader(tmp_path / "back.fits").get("ROWORDER", "BOTTOM-UP")
    assert found == (order or "BOTTOM-UP")


def test_a_tiff_of_a_fits_frame_is_shown_the_right_way_up(tmp_path):
    fits.PrimaryHDU(PIXELS).writeto(tmp_path / "in.fits")
    through(tmp_path / "in.fits", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.pages[0].tags["Orientation"].value == 4


def test_a_fits_file_of_a_tiff_image_says_that_its_rows_go_down(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", PIXELS)
    through(tmp_path / "in.tif", tmp_path / "out.fits")
    assert fits.getval(tmp_path / "out.fits", "ROWORDER") == "TOP-DOWN"


def test_an_array_says_nothing_of_its_rows(tmp_path):
    write_image(tmp_path / "out.fits", ImageData(PIXELS, "YX", header=Header()))
    assert "ROWORDER" not in fits.getheader(tmp_path / "out.fits")


def test_a_turned_tiff_stays_turned(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", PIXELS, extratags=[(274, "H", 1, 6, True)])
    assert through(tmp_path / "in.tif", tmp_path / "out.tif").header.orientation == 6


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_a_color_profile_is_kept(tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colors = np.random.default_rng(0).integers(0, 255, (16, 20, 3), np.uint8)
    Image.fromarray(colors).save(tmp_path / f"in{suffix}", icc_profile=profile)
    assert through(tmp_path / f"in{suffix}", tmp_path / "out.ome.tif").header.icc_profile == profile
