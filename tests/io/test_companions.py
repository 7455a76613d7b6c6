"""Errors, flags and weights of an image, by the conventions of many observatories."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    StdDevUncertainty,
    VarianceUncertainty,
)

import napari_dip as dip
from napari_dip.core.errors import ReadError
from napari_dip.io import read_images
from napari_dip.io.fits.reader import fits_provenance

SHAPE = (40, 44)
SIGMA = 2.5


@pytest.fixture
def science():
    return np.random.default_rng(0).normal(100, SIGMA, SHAPE).astype(np.float32)


@pytest.fixture
def flags():
    flags = np.zeros(SHAPE, np.int32)
    flags[3:5, 7:9] = 1
    return flags


def hdu(data, name="", **cards):
    image = fits.ImageHDU(data, name=name or None)
    image.header.update(cards)
    return image


def written(tmp_path, *hdus):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


ESO = {"HDUCLASS": "ESO", "HDUCLAS1": "IMAGE", "SCIDATA": "FLUX"}


@pytest.mark.parametrize(
    ("names", "cards", "form"),
    [
        (("SCI", "ERR", "DQ"), ({}, {}, {}), 1),
        (("IMAGE", "VARIANCE", "MASK"), ({}, {}, {}), 2),
        (("", "", ""), ({"EXTTYPE": "IMAGE"}, {"EXTTYPE": "VARIANCE"}, {"EXTTYPE": "MASK"}), 2),
        (("1-1.E.SCI", "1-1.E.RMS", "1-1.E.FLG"), ({}, {}, {}), 1),
        (("SCI", "WGT", "MSK"), ({}, {}, {}), -2),
        (("FLUX", "IVAR", "MASK"), ({}, {}, {}), -2),
        (
            ("FLUX", "ERRS", "QUAL"),
            ({"HDUCLAS2": "DATA"}, ESO | {"HDUCLAS2": "ERROR"}, ESO | {"HDUCLAS2": "QUALITY"}),
            1,
        ),
        (
            ("FLUX", "NOISE_MAP", "QUAL"),
            (
                {"HDUCLAS2": "DATA"},
                ESO | {"HDUCLAS2": "ERROR", "HDUCLAS3": "MSE"},
                ESO | {"HDUCLAS2": "QUALITY"},
            ),
            2,
        ),
        (("SCI", "UNCERT", "MASK"), ({}, {"UTYPE": "VarianceUncertainty"}, {}), 2),
        (("SCI", "UNCERT", "MASK"), ({}, {"UTYPE": "StdDevUncertainty"}, {}), 1),
    ],
)
def test_errors_and_flags_are_found(tmp_path, science, flags, names, cards, form):
    noise = np.full(SHAPE, SIGMA**form, np.float32)
    planes = (science, noise, flags)
    hdus = [hdu(*each[:2], **each[2]) for each in zip(planes, names, cards, strict=True)]
    (image,) = read_images(written(tmp_path, *hdus))
    np.testing.assert_allclose(image.sigma, SIGMA, rtol=1e-6)
    np.testing.assert_array_equal(image.bad_mask, flags > 0)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_the_uncertainty_of_a_ccddata_file_is_of_its_kind(tmp_path, science, kind):
    sigma = np.full(SHAPE, SIGMA, np.float32)
    uncertainty = StdDevUncertainty(sigma).represent_as(kind)
    CCDData(science, unit="adu", uncertainty=uncertainty).write(tmp_path / "a.fits")
    (image,) = read_images(tmp_path / "a.fits")
    np.testing.assert_allclose(image.sigma, SIGMA, rtol=1e-6)


def test_planes_of_several_images_are_told_apart_by_their_group(tmp_path, science):
    hdus = []
    for number in (1, 2):
        hdus.append(hdu(science * number, f"{number}-1.E.SCI"))
        hdus.append(hdu(np.full(SHAPE, SIGMA * number), f"{number}-1.E.RMS"))
    first, second = read_images(written(tmp_path, *hdus))
    np.testing.assert_array_equal(first.sigma, SIGMA)
    np.testing.assert_array_equal(second.sigma, 2 * SIGMA)


def test_planes_without_names_follow_their_image(tmp_path, science):
    hdus = []
    for number in (1, 2):
        hdus.append(hdu(science * number, EXTTYPE="IMAGE"))
        hdus.append(hdu(np.full(SHAPE, (SIGMA * number) ** 2), EXTTYPE="VARIANCE"))
    first, second = read_images(written(tmp_path, *hdus))
    np.testing.assert_array_equal(first.sigma, SIGMA)
    np.testing.assert_array_equal(second.sigma, 2 * SIGMA)


@pytest.mark.parametrize("name", ["CTX", "CON", "COVERAGE", "D2IMARR"])
def test_what_shows_no_sky_is_no_image(tmp_path, science, name):
    path = written(tmp_path, hdu(science, "SCI"), hdu(science.astype(np.int32), name))
    assert len(read_images(path)) == 1
    assert dip.read(f"{path}[{name}]").y.shape[-2:] == SHAPE  # if asked for


def test_only_bits_that_mean_no_measurement_are_holes(tmp_path, science):
    flags = np.zeros(SHAPE, np.int32)
    flags[3], flags[5], flags[7], flags[9] = 1 << 5, 1 << 1, 1 << 20, 1 << 9
    names = {"MP_SAT": 1, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 9}
    image, *_ = read_images(written(tmp_path, hdu(science, "IMAGE"), hdu(flags, "MASK", **names)))
    expected = np.zeros(SHAPE, bool)
    expected[[5, 7, 9]] = True  # saturated, unknown, no data
    np.testing.assert_array_equal(image.bad_mask, expected)
    assert image.quality.describe(1 << 5) == "DETECTED"
    np.testing.assert_array_equal(image.with_bad_flags({1 << 5}).bad_mask, flags == 1 << 5)


def test_pan_starrs_names_its_bits(tmp_path, science):
    flags = np.zeros(SHAPE, np.int32)
    flags[3], flags[5] = 1, 0x4000
    names = {"MSKNAM00": "DETECTOR", "MSKVAL00": 1, "MSKNAM14": "STARCORE", "MSKVAL14": 0x4000}
    image, *_ = read_images(written(tmp_path, hdu(science, "SCI"), hdu(flags, "MASK", **names)))
    np.testing.assert_array_equal(image.bad_mask, flags == 1)


def test_of_manga_low_coverage_is_no_hole(tmp_path, science):
    flags = np.zeros(SHAPE, np.int32)
    flags[3], flags[5], flags[7] = 2, 1024 + 4, 8
    hdus = [fits.PrimaryHDU(), hdu(science, "FLUX"), hdu(flags, "MASK")]
    hdus[0].header["INSTRUME"] = "MaNGA"
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    (image,) = read_images(tmp_path / "a.fits")
    np.testing.assert_array_equal(image.bad_mask, flags > 1000)
    assert image.quality.describe(1028) == "dead fiber, do not use"


def test_unnamed_extensions_keep_their_own_by_products(tmp_path, science, fast_recipe):
    chips = [science.copy() for _ in range(3)]
    for number, chip in enumerate(chips):
        chip[4 * number, :4] = np.nan
    path = written(tmp_path, *(hdu(chip) for chip in chips))
    once, twice = tmp_path / "once.fits", tmp_path / "twice.fits"
    dip.write(once, dip.restore(dip.read(f"{path}[1]"), fast_recipe))
    dip.write(twice, dip.restore(dip.read(f"{once}[2]"), fast_recipe))
    with fits.open(twice) as hdus:
        assert [found.name for found in hdus[4:]].count("FILLED") == 2
    for number, image in enumerate(read_images(twice)):
        assert np.isfinite(image.array).all() == (number < 2)
        expected = np.isnan(chips[number])
        np.testing.assert_array_equal(image.mask, expected)


class TestCases:
    """The files that were read wrongly."""

    @pytest.fixture
    def cases(self, data_folder):
        return data_folder / "cases" / "astronomy"

    @pytest.mark.parametrize("name", ["lsst_mask_named", "lsst_exttype_only"])
    def test_detected_stars_are_no_holes(self, cases, name):
        (image,) = read_images(cases / f"{name}.fits")
        assert image.bad_mask is None or image.bad_mask.mean() < 0.01
        assert np.median(image.sigma) == pytest.approx(20.72, abs=0.01)
        assert image.quality.flag_counts()[32][0] == "DETECTED"

    @pytest.mark.parametrize(
        ("name", "sigma"),
        [("names_euclid_vis", 7.0), ("names_eso_hduclas", 7.0), ("names_des", 20.0)],
    )
    def test_noise_and_flags_are_found(self, cases, name, sigma):
        (image,) = read_images(cases / f"{name}.fits")
        assert np.median(image.sigma) == pytest.approx(sigma)
        assert image.quality is not None

    @pytest.mark.parametrize(
        ("name", "sigma"), [("ccddata_variance", 7.68), ("ccddata_variance_bright_sky", 71.0)]
    )
    def test_variances_are_no_standard_deviations(self, cases, name, sigma):
        (image,) = read_images(cases / f"{name}.fits")
        assert np.median(image.sigma) == pytest.approx(sigma, rel=0.01)

    def test_a_context_plane_is_no_image(self, cases):
        (image,) = read_images(cases / "drz_wht_ctx.fits")
        assert image.header.name == "SCI"

    def test_chips_without_names_keep_their_own_holes(self, cases, tmp_path, fast_recipe):
        path = cases / "mef_unnamed.fits"
        before = [np.isnan(image.array) for image in read_images(path)]
        dip.write(tmp_path / "a.fits", dip.restore(dip.read(f"{path}[1]"), fast_recipe))
        after = [image.mask for image in read_images(tmp_path / "a.fits")]
        assert [mask.sum() for mask in after] == [16, 16, 16]
        for mask, expected in zip(after, before, strict=True):
            np.testing.assert_array_equal(mask, expected)


def test_of_eso_errors_name_their_image(tmp_path, science, flags):
    """Two images with errors of their own, in an order that says nothing."""
    errors = [np.full(SHAPE, sigma, np.float32) for sigma in (1.0, 2.0)]
    path = written(
        tmp_path,
        hdu(errors[1], "ONE", HDUCLAS2="ERROR", HDUCLAS3="RMSE", SCIDATA="B"),
        hdu(errors[0], "TWO", HDUCLAS2="ERROR", HDUCLAS3="RMSE", SCIDATA="A"),
        hdu(science, "A", HDUCLAS2="DATA"),
        hdu(science, "B", HDUCLAS2="DATA"),
    )
    found = {image.header.name: float(image.sigma[0, 0]) for image in read_images(path)}
    assert found == {"A": 1.0, "B": 2.0}


def test_only_an_extension_has_a_primary_header(tmp_path, science):
    path = written(tmp_path, hdu(science, "A"))
    assert read_images(path)[0].header.primary_header.startswith("SIMPLE")
    fits.writeto(tmp_path / "b.fits", science)
    assert read_images(tmp_path / "b.fits")[0].header.primary_header == ""


def test_a_pixel_scale_of_0_is_none(tmp_path, science):
    celestial = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 1e-3, "CDELT2": 0.0}
    path = written(tmp_path, hdu(science, "A", **celestial))
    assert read_images(path)[0].header.pixel_size == {}


def test_the_recipe_is_that_of_the_last_restoration(tmp_path, science):
    hdus = [
        hdu(science, name, DIPRECIP=f'{{"title": "{name}"}}', DIPDATE=date)
        for name, date in (("A", "2026-01-01"), ("B", "2026-03-01"), ("C", "2026-02-01"))
    ]
    assert fits_provenance(written(tmp_path, *hdus))["recipe"]["title"] == "B"


def test_an_hdu_that_is_cut_off_is_named(tmp_path, science):
    fits.writeto(tmp_path / "a.fits", science)
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="the data of HDU 0 'PRIMARY' are"):
        read_images(tmp_path / "a.fits")


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="NumPy 1 has 32 axes")
@pytest.mark.parametrize(("axes", "is_read"), [(64, True), (65, False)])
def test_a_file_has_at_most_64_axes(tmp_path, axes, is_read):
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", f"NAXIS   = {axes:20}"]
    cards += [f"NAXIS{n:<3}= {20 if n < 3 else 1:20}" for n in range(1, axes + 1)]
    header = "".join(card.ljust(80) for card in [*cards, "END"])
    content = header.ljust(-(-len(header) // 2880) * 2880).encode()
    (tmp_path / "a.fits").write_bytes(content + bytes(2880))
    if is_read:
        assert read_images(tmp_path / "a.fits")[0].array.shape == (20, 20)
    else:
        with pytest.raises(ReadError, match="NAXIS"):
            read_images(tmp_path / "a.fits")
