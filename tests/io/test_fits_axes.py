"""Which axes of a FITS image are channels, times and sky; missing values; suffixes."""

import bz2
import gzip
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import napari_dip as dip
from napari_dip.core.errors import ObservationError, ReadError
from napari_dip.io import read_images
from napari_dip.io.fits.wcs import crop_header, rescale_header


def written(tmp_path, pixels, **cards):
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword] = value
    fits.writeto(tmp_path / "a.fits", pixels, header)
    return tmp_path / "a.fits"


def noise(*shape):
    return np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "cards", "axes"),
    [
        ((3, 40, 44), {}, "CYX"),
        ((3, 40, 44), {"CTYPE3": "RGB"}, "CYX"),
        ((3, 40, 44), {"CTYPE3": "COLOR"}, "CYX"),
        ((6, 40, 44), {"CTYPE3": "BAND"}, "CYX"),
        ((6, 40, 44), {"CTYPE3": "FREQ"}, "CYX"),
        ((6, 40, 44), {f"BAND{n}": f"band {n}" for n in range(6)}, "CYX"),
        ((6, 40, 44), {f"BAND{n}": f"band {n}" for n in range(5)}, "TYX"),
        ((6, 40, 44), {}, "TYX"),
        ((3, 40, 44), {"CTYPE3": "TIME"}, "TYX"),
        ((40, 44, 3), {}, "YXC"),
        ((40, 44, 3), {"CTYPE1": "RGB"}, "YXC"),
        ((40, 44, 3), {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, "TYX"),
        ((40, 44, 7), {"CTYPE1": "VELO-LSR", "CTYPE2": "GLON-CAR", "CTYPE3": "GLAT-CAR"}, "YXC"),
        ((40, 7, 44), {"CTYPE1": "RA---TAN", "CTYPE2": "FREQ", "CTYPE3": "DEC--TAN"}, "YCX"),
        ((1, 1, 40, 44), {"CTYPE3": "FREQ", "CTYPE4": "STOKES"}, "YX"),
        ((2, 5, 40, 44), {"CTYPE3": "TIME"}, "CTYX"),
        ((2, 3, 40, 44), {"CTYPE3": "FREQ", "CTYPE4": "STOKES"}, "TZYX"),
        ((2, 5, 6, 7, 40, 44), {}, "TZCYX"),
        ((40, 44), {"CTYPE1": "WAVE"}, "YX"),
    ],
)
def test_axes_are_what_the_header_says(tmp_path, shape, cards, axes):
    (image,) = read_images(written(tmp_path, noise(*shape), **cards))
    assert image.axes == axes
    assert len(image.array.shape) == len(axes)


def test_bands_keep_their_names(tmp_path):
    path = written(tmp_path, noise(5, 40, 44), **{f"BAND{n}": name for n, name in enumerate("ugriz")})
    assert read_images(path)[0].header.channels == tuple("ugriz")


@pytest.mark.parametrize("shape", [(40, 44, 3), (3, 40, 44)])
def test_colors_are_written_in_the_order_of_the_file(tmp_path, fast_recipe, shape):
    path = written(tmp_path, noise(*shape))
    result = dip.restore(dip.read(path), fast_recipe)
    dip.write(tmp_path / "b.fits", result)
    restored = fits.getdata(tmp_path / "b.fits")
    assert restored.shape == shape
    np.testing.assert_array_equal(restored, result.image)
    assert "CTYPE3" not in fits.getheader(tmp_path / "b.fits")


VELOCITY_FIRST = {
    "CTYPE1": "VELO-LSR", "CRPIX1": 1.0, "CDELT1": 0.65, "CRVAL1": -47.0,
    "CTYPE2": "GLON-CAR", "CRPIX2": 10.0, "CDELT2": -0.125, "CRVAL2": 0.0,
    "CTYPE3": "GLAT-CAR", "CRPIX3": 12.0, "CDELT3": 0.125, "CRVAL3": 0.0,
}  # fmt: skip


def test_a_cube_with_its_velocity_first_keeps_its_coordinates(tmp_path, fast_recipe):
    observation = dip.read(written(tmp_path, noise(40, 44, 5), **VELOCITY_FIRST))
    assert observation.y.shape == (1, 5, 1, 40, 44)
    assert observation.header.pixel_size["X"] == (pytest.approx(450), "arcsec")
    dip.write(tmp_path / "b.fits", dip.restore(observation, fast_recipe))
    after = fits.open(tmp_path / "b.fits")[0]
    assert after.shape == (40, 44, 5)
    before = observation.header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        where = WCS(fits.Header.fromstring(before.fits_header, sep="\n")).wcs_pix2world([[2, 9, 7]], 0)
        np.testing.assert_allclose(WCS(after.header).wcs_pix2world([[2, 9, 7]], 0), where)
        finer = fits.Header.fromstring(rescale_header(before, (2.0, 2.0)).fits_header, sep="\n")
        place = [[2, 2 * 9.5 - 0.5, 2 * 7.5 - 0.5]]
        np.testing.assert_allclose(WCS(finer).wcs_pix2world(place, 0), where)
        part = fits.Header.fromstring(crop_header(before, 3, 5).fits_header, sep="\n")
        np.testing.assert_allclose(WCS(part).wcs_pix2world([[2, 4, 4]], 0), where)


def test_coordinates_without_a_type_are_divided_like_any_other(tmp_path):
    header = dip.read(written(tmp_path, noise(40, 44), CDELT1=2.0, CDELT2=3.0, CRPIX1=1.0)).header
    cards = fits.Header.fromstring(rescale_header(header, (2.0, 4.0)).fits_header, sep="\n")
    assert (cards["CDELT1"], cards["CDELT2"], cards["CRPIX1"]) == (0.5, 1.5, 2.5)


def test_sizes_and_statistics_are_scaled_or_left_out(tmp_path, fast_recipe):
    cards = {"IMAGEW": 44, "IMAGEH": 40, "SCALE": 1.2, "X0_MP": 20.0, "R_SUN": 10.0, "DATAMEAN": 5.0}
    observation = dip.read(written(tmp_path, noise(40, 44), **cards, MEDIAN=4.0, EXPTIME=3.0))
    finer = fits.Header.fromstring(rescale_header(observation.header, (2.0, 2.0)).fits_header, sep="\n")
    scaled = {name: finer[name] for name in ("IMAGEW", "IMAGEH", "SCALE", "X0_MP", "R_SUN")}
    assert scaled == {"IMAGEW": 88, "IMAGEH": 80, "SCALE": 0.6, "X0_MP": 40.5, "R_SUN": 20}
    part = fits.Header.fromstring(crop_header(observation.header, 3, 5).fits_header, sep="\n")
    assert part["X0_MP"] == 15
    assert "IMAGEW" not in part
    dip.write(tmp_path / "b.fits", dip.restore(observation, fast_recipe))
    after = fits.getheader(tmp_path / "b.fits")
    assert "DATAMEAN" not in after
    assert "MEDIAN" not in after
    assert after["EXPTIME"] == 3.0


class TestMissingValues:
    @pytest.mark.parametrize("value", [-1.6375e30, -3.4028235e38])
    def test_values_that_are_never_measured(self, tmp_path, value):
        pixels = noise(40, 44)
        pixels[3:5, 6] = value
        observation = dip.read(written(tmp_path, pixels))
        assert (~observation.observed).sum() == 2
        assert np.nanmin(observation.y) > 0

    @pytest.mark.parametrize("dtype", [np.float32, np.int16])
    @pytest.mark.parametrize("value", [-9999, -32768])
    def test_a_border_far_below_all_other_pixels(self, tmp_path, value, dtype):
        pixels = noise(40, 44).astype(dtype)
        pixels[:3] = value
        path = written(tmp_path, pixels)
        with pytest.warns(UserWarning, match=rf"a\.fits: pixels of {value} count as missing"):
            observation = dip.read(path)
        np.testing.assert_array_equal(observation.observed[0, 0, 0], pixels != value)

    def test_measured_values_stay(self, tmp_path, recwarn):
        pixels = np.linspace(-9999, 5000, 1600).reshape(40, 40).astype(np.float32)
        pixels[0, :5] = -9999
        assert dip.read(written(tmp_path, pixels)).observed.all()
        assert not recwarn.list


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".fit.gz", gzip.compress),
        (".fts.gz", gzip.compress),
        (".FTZ", gzip.compress),
        (".fits.bz2", bz2.compress),
        (".img", bytes),
    ],
)
def test_suffixes_that_archives_use(tmp_path, suffix, pack):
    path = written(tmp_path, noise(40, 44))
    packed = tmp_path / f"packed{suffix}"
    packed.write_bytes(pack(path.read_bytes()))
    np.testing.assert_array_equal(dip.read(packed).y, dip.read(path).y)
    if suffix == ".fits.bz2":
        packed.write_bytes(packed.read_bytes()[:-500])
        with pytest.raises(ReadError, match="broken or end early"):
            dip.read(packed)


def test_raw_frames_of_color_cameras_are_refused(tmp_path, fast_recipe):
    path = written(tmp_path, noise(40, 44), BAYERPAT="RGGB")
    with pytest.raises(ObservationError, match=r"raw frame of a color camera \(RGGB\)"):
        dip.read(path)
    (tmp_path / "a.fits").unlink()
    colors = dip.read(written(tmp_path, noise(3, 40, 44), BAYERPAT="RGGB"))  # a card that was left over
    assert colors.y.shape[1] == 3


def test_frames_of_three_pixels_are_refused(tmp_path):
    path = written(tmp_path, noise(40, 44, 3), CTYPE1="RA---TAN", CTYPE2="DEC--TAN")
    with pytest.raises(ObservationError, match="the image is 3 x 44 pixels: at least 32 x 32"):
        dip.read(path)


def test_a_wrong_checksum_is_reported_by_every_way_of_reading(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(40, 44), name="SCI")]).writeto(
        path, checksum=True
    )
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)
    for read in (dip.read, lambda p: dip.read(f"{p}[SCI]"), read_images):
        with pytest.warns(UserWarning, match="the checksum of SCI is wrong"):
            read(path)


class TestCases:
    """The files that were read wrongly."""

    @pytest.fixture
    def cases(self, data_folder):
        return data_folder / "cases" / "astronomy"

    @pytest.mark.parametrize(
        ("name", "axes"),
        [
            ("rgb_ctype3", "CYX"),
            ("rgb_last_axis", "YXC"),
            ("bands_ugriz", "CYX"),
            ("velocity_first", "YXC"),
        ],
    )
    def test_channels(self, cases, name, axes):
        assert dip.read(cases / f"{name}.fits").axes == axes

    @pytest.mark.parametrize("name", ["frame-r-000094.fits.bz2", "calibrated.fit.gz"])
    def test_suffixes(self, cases, name):
        assert dip.read(cases / name).y.size > 1000

    def test_unseen_pixels_are_missing(self, cases):
        observation = dip.read(cases / "healpix_unseen.fits")
        assert 0 < (~observation.observed).sum() < observation.y.size
        assert np.nanmin(observation.y) > -1e6

    def test_a_mosaic_of_colors_is_refused(self, cases):
        with pytest.raises(ObservationError, match="RGGB"):
            dip.read(cases / "bayer_rggb.fits")

    def test_odd_cards_keep_their_value(self, cases, tmp_path, fast_recipe):
        source = cases / "odd_cards.fits"
        dip.write(tmp_path / "b.fits", dip.restore(dip.read(source), fast_recipe))

        def cards(path):
            text = path.read_bytes()[: 4 * 2880].decode("latin-1")
            return [text[i : i + 80].rstrip() for i in range(0, len(text), 80)]

        after = cards(tmp_path / "b.fits")
        for card in [*cards(source)[6:8], *cards(source)[9:22]]:  # not MEANC10, a statistic
            assert "".join(c if " " <= c <= "~" else " " for c in card).rstrip() in after


def test_a_copy_of_the_case_files_is_left_as_it_was(data_folder, tmp_path, fast_recipe):
    source = data_folder / "cases" / "astronomy" / "bands_ugriz.fits"
    path = shutil.copy(source, tmp_path / "a.fits")
    dip.write(tmp_path / "b.fits", dip.restore(dip.read(path), fast_recipe))
    after = fits.getheader(tmp_path / "b.fits")
    assert "CTYPE3" not in after
    assert after["BANDS"] == "ugriz"
