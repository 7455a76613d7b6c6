"""Every image of every real file as astropy has it, quality flags, and coordinates of a part."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from napari_dip import Header
from napari_dip.core.errors import ReadError
from napari_dip.io import ImageData, read_first_image, read_images
from napari_dip.io.fits.wcs import crop_header

pytestmark = pytest.mark.filterwarnings("ignore:.*the checksum of")  # of some real files


def test_every_image_of_every_file_is_what_astropy_reads(data_folder):
    compared = 0
    for path in sorted((data_folder / "astronomy").glob("*.fits*")):
        with fits.open(path) as hdus:
            for index, hdu in enumerate(hdus):
                image = isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU)
                if not image or isinstance(hdu, fits.GroupsHDU) or len(hdu.shape) < 2:
                    continue
                found = read_first_image(f"{path}[{index}]").array
                expected = np.asarray(hdu.data)
                leading = [n for n in expected.shape[:-2] if n > 1]
                np.testing.assert_array_equal(
                    found, expected.reshape(*leading, *expected.shape[-2:]), f"{path.name}[{index}]"
                )
                assert found.dtype == expected.dtype.newbyteorder("=")
                compared += 1
    assert compared > 70


@pytest.mark.parametrize("name", ["table_only_tb.fits", "random_groups.fits", "example_4d_tab.fits"])
def test_a_file_without_an_image_says_so(data_folder, name):
    with pytest.raises(ReadError, match="holds no image"):
        read_images(data_folder / "astronomy" / name)


def test_an_extension_is_found_by_its_version_too(data_folder):
    path = data_folder / "astronomy" / "gmos_mef_raw_3sci.fits"
    assert read_first_image(f"{path}[SCI,3]").header.hdu == 3
    with pytest.raises(ReadError, match=r"no image 'SCI,9'; it has SCI, SCI, SCI"):
        read_first_image(f"{path}[SCI,9]")


def test_arrays_of_one_value_are_understood(tmp_path):
    science = fits.ImageHDU(np.random.default_rng(0).normal(size=(40, 50)).astype("f4"), name="SCI")
    one_value = fits.ImageHDU(name="ERR")
    one_value.header.update({"NPIX1": 50, "NPIX2": 40, "PIXVALUE": 2.5})
    good = fits.ImageHDU(name="DQ")
    good.header.update({"NPIX1": 50, "NPIX2": 40, "PIXVALUE": 0})
    fits.HDUList([fits.PrimaryHDU(), science, one_value, good]).writeto(tmp_path / "a.fits")
    (image,) = read_images(tmp_path / "a.fits")
    np.testing.assert_array_equal(image.sigma, np.full((40, 50), 2.5))
    assert image.bad_mask is None


def flagged(tmp_path, values, **cards):
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    science = fits.ImageHDU(np.random.default_rng(0).normal(size=values.shape), name="SCI")
    fits.HDUList([primary, science, fits.ImageHDU(values, name="DQ")]).writeto(tmp_path / "dq.fits")
    return read_images(tmp_path / "dq.fits")[0]


def test_flags_have_the_names_of_their_telescope_and_can_be_chosen(tmp_path):
    values = np.zeros((40, 40), np.int16)
    values[3], values[7], values[9] = 64, 4096, 64 + 16
    image = flagged(tmp_path, values, TELESCOP="HST", INSTRUME="ACS")
    assert image.quality.flag_counts() == {16: ("hot", 40), 64: ("warm", 80), 4096: ("cosmic ray", 40)}
    assert image.quality.describe(80) == "hot, warm"
    np.testing.assert_array_equal(image.bad_mask, (values & ~64) != 0)  # warm pixels are measured
    np.testing.assert_array_equal(image.with_bad_flags({16, 4096}).bad_mask, (values & 4112) != 0)
    with pytest.raises(ReadError, match=r"3 is not a quality flag: flags are 1, 2, 4, 8"):
        image.with_bad_flags({3})


def test_pixels_that_are_missing_for_other_reasons_stay_missing(tmp_path):
    values = np.zeros((40, 40), np.int16)
    values[3] = 16
    image = flagged(tmp_path, values, TELESCOP="HST")
    weightless = np.zeros((40, 40), bool)
    weightless[5] = True
    other = ImageData(image.array, "YX", bad_mask=image.bad_mask | weightless, quality=image.quality)
    np.testing.assert_array_equal(other.with_bad_flags(set()).bad_mask, weightless)


def test_jwst_flags_with_the_highest_bit_are_read(tmp_path):
    values = np.zeros((40, 40), np.uint32)
    values[3], values[7], values[9] = 2**31, 1, 2**25
    image = flagged(tmp_path, values, TELESCOP="JWST")
    assert image.quality.flag_counts()[2**31] == ("reference pixel", 40)
    np.testing.assert_array_equal(image.bad_mask, values == 1)


def test_decams_are_codes_and_no_bits(tmp_path):
    values = np.zeros((40, 40), np.int32)
    values[3], values[7] = 5, 4
    image = flagged(tmp_path, values, TELESCOP="CTIO 4.0-m telescope", INSTRUME="DECam")
    assert image.quality.flag_counts() == {4: ("bleed trail", 40), 5: ("cosmic ray", 40)}
    np.testing.assert_array_equal(image.with_bad_flags({5}).bad_mask, values == 5)


@pytest.mark.parametrize(
    "name",
    [
        "M13_blue_0001.fits",  # no WCS
        "HorseHead.fits",  # plate cards
        "spitzer_irac_sip_nan.fits",  # SIP
        "decam_c4d_170316_ooi_z_N2.fits",  # TPV
        "gc_bolocam_gps.fits",  # CAR
        "gc_2mass_j.fits",
    ],
)
def test_every_pixel_of_a_part_keeps_its_place_on_the_sky(data_folder, name):
    (whole,) = read_images(data_folder / "astronomy" / name)
    part = whole.crop(slice(30, 130), slice(17, 117))
    np.testing.assert_array_equal(part.array, whole.array[30:130, 17:117])
    before, after = (WCS(fits.Header.fromstring(i.header.fits_header, sep="\n")) for i in (whole, part))
    x, y = np.meshgrid(np.arange(0, 100, 9), np.arange(0, 100, 9))
    if not before.has_celestial:
        assert "BIASSEC" not in part.header.fits_header
        return
    expected = before.all_pix2world(x + 17, y + 30, 0)
    np.testing.assert_allclose(after.all_pix2world(x, y, 0), expected, rtol=0, atol=1e-8)


def test_a_part_has_no_sections_of_the_detector():
    cards = fits.Header([("DATASEC", "[1:100,1:100]"), ("CRPIX1", 5.0), ("GAIN", 2.0)])
    part = crop_header(Header(fits_header=cards.tostring(sep="\n", endcard=False, padding=False)), 3, 4)
    found = fits.Header.fromstring(part.fits_header, sep="\n")
    assert "DATASEC" not in found
    assert found["CRPIX1"] == 1
    assert found["GAIN"] == 2


@pytest.mark.parametrize("scaled", [False, True])
def test_a_large_image_is_read_lazily(tmp_path, monkeypatch, scaled):
    array = np.random.default_rng(0).integers(0, 30000, (3, 2100, 60), np.int16)
    array = array.astype(np.uint16) if scaled else array  # the first has BZERO
    hdu = fits.ImageHDU(array, name="SCI")
    hdu.header["CTYPE3"] = "WAVE"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    monkeypatch.setattr("napari_dip.core.arrays.MAX_ARRAY_SHARE", 1e-9)
    (image,) = read_images(tmp_path / "a.fits")
    assert not isinstance(image.array, np.ndarray)
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.array[1, 2040:2060].compute(), array[1, 2040:2060])
    np.testing.assert_array_equal(image.to_observation().y[0, :, 0], array)
    cropped = image.crop(slice(5, 60), slice(0, 50))
    np.testing.assert_array_equal(cropped.array.compute(), array[:, 5:60, :50])


@pytest.mark.parametrize(
    "name", ["decam_c4d_170316_ooi_z_N2.fits", "decam_tilecomp_c4d_171113_ooi_r_N6.fits"]
)
def test_flags_and_weights_in_files_of_their_own_belong_to_the_image(data_folder, name):
    path = data_folder / "astronomy" / name
    (image,) = read_images(path)
    flags = fits.getdata(str(path).replace("_ooi_", "_ood_"), 1)
    weights = fits.getdata(str(path).replace("_ooi_", "_oow_"), 1).astype(float)
    np.testing.assert_array_equal(image.quality.values, flags)
    assert image.quality.codes
    flagged = np.zeros(flags.shape, bool) if image.bad_mask is None else image.bad_mask
    np.testing.assert_array_equal(flagged, (flags != 0) | (weights <= 0))
    good = weights > 0
    np.testing.assert_allclose(image.sigma[good], weights[good] ** -0.5, rtol=1e-5)
    # The weights are those of this image's noise, as far as it can be measured.
    steps = np.diff(np.where(flagged, np.nan, image.array), axis=1)
    measured = 1.4826 * np.nanmedian(np.abs(steps - np.nanmedian(steps))) / np.sqrt(2)
    assert measured == pytest.approx(np.median(image.sigma[~flagged]), rel=0.1)


def test_a_broken_file_beside_the_image_is_left_out_with_a_warning(data_folder, tmp_path):
    for part in ("ooi", "ood"):
        name = f"decam_c4d_170316_{part}_z_N2.fits"
        (tmp_path / name).write_bytes((data_folder / "astronomy" / name).read_bytes())
    broken = tmp_path / "decam_c4d_170316_ood_z_N2.fits"
    broken.write_bytes(broken.read_bytes()[:9000])
    with pytest.warns(UserWarning, match="left out"):
        (image,) = read_images(tmp_path / "decam_c4d_170316_ooi_z_N2.fits")
    assert image.quality is None


def test_a_wrong_checksum_is_a_warning_and_the_pixels_are_there(data_folder):
    path = data_folder / "astronomy" / "checksum_false.fits"
    with pytest.warns(UserWarning, match=r"checksum_false\.fits: the checksum of .* is wrong") as warned:
        found = read_images(path)
    assert len(warned) == 1
    np.testing.assert_array_equal(found[0].array, fits.getdata(path, found[0].header.hdu))


def test_a_right_checksum_is_no_warning(tmp_path, recwarn):
    fits.writeto(tmp_path / "a.fits", np.eye(40), checksum=True)
    read_images(tmp_path / "a.fits")
    assert not recwarn
