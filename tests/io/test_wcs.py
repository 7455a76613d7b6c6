"""Coordinates after a finer grid, against astropy on simulated and real headers."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

import napari_dip
from napari_dip import Header
from napari_dip.core.world_coordinates import parse_wcs
from napari_dip.io.fits.wcs import rescale_header

REAL = (
    "gc_2mass_j", "HorseHead", "spitzer_irac_sip_nan", "decam_c4d_170316_ooi_z_N2", "gc_bolocam_gps",
    "cosmos_hsc_grizy_50", "ngc1316_comp_rice", "muse_cube_data_stat", "sdo_aia_171_level1",
)  # fmt: skip


def text_of(header):
    return header.tostring(sep="\n", endcard=False, padding=False)


def solution(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(header).celestial


def check(before, zoom, *, side=40):
    after = fits.Header.fromstring(
        rescale_header(Header(fits_header=text_of(before)), zoom).fits_header, sep="\n"
    )
    x, y = np.random.default_rng(0).uniform(-0.5, side, (2, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = solution(before).pixel_to_world_values(x, y)
        again = solution(after).pixel_to_world_values(
            zoom[1] * (x + 0.5) - 0.5, zoom[0] * (y + 0.5) - 0.5
        )
    step = np.abs(np.diff(solution(before).pixel_to_world_values([0, 0], [0, 1]))).max()
    np.testing.assert_allclose(again, points, rtol=0, atol=1e-5 * step)


def linear(**cards):
    header = fits.Header()
    header["NAXIS"] = 2
    for keyword, value in {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.0, "CRVAL2": -5.0,
        "CRPIX1": 20.5, "CRPIX2": 17.0, "CUNIT1": "deg", "CUNIT2": "deg", **cards,
    }.items():  # fmt: skip
        header[keyword] = value
    return header


CASES = {
    "cdelt": linear(CDELT1=-1e-4, CDELT2=1e-4),
    "cd": linear(CD1_1=-8e-5, CD1_2=3e-5, CD2_1=3e-5, CD2_2=8e-5),
    "pc": linear(CDELT1=-1e-4, CDELT2=1e-4, PC1_1=0.8, PC1_2=-0.6, PC2_1=0.6, PC2_2=0.8),
    "sip": linear(
        CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", CD1_1=-1e-4, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-4,
        A_ORDER=2, B_ORDER=2, A_2_0=2e-5, A_1_1=-1e-5, B_0_2=3e-5, B_2_0=1e-5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("zoom", [(2.0, 2.0), (4.0, 4.0), (3.0, 2.0), (2.5, 2.5)])
@pytest.mark.parametrize("name", CASES)
def test_every_point_keeps_its_place_in_the_sky(name, zoom):
    check(CASES[name], zoom)


@pytest.mark.parametrize("name", REAL)
def test_real_headers_too(name, data_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(data_folder / "astronomy" / f"{name}.fits") as hdus:
            header = next(h.header.copy() for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2)
    check(header, (4.0, 4.0))


def test_sizes_areas_and_sections_follow():
    header = CASES["cdelt"].copy()
    header["PIXSCALE"], header["PIXAR_A2"] = 0.36, 0.1296
    header["XPIXSZ"], header["YPIXSZ"] = 9.0, 9.0
    header["DATASEC"], header["LTV1"], header["OBJECT"] = "[1:40,1:40]", 3.0, "M13"
    given = Header(fits_header=text_of(header), pixel_size={"X": (0.36, "arcsec"), "C": (1.0, "")})
    finer = rescale_header(given, (2.0, 2.0))
    after = fits.Header.fromstring(finer.fits_header, sep="\n")
    assert (after["PIXSCALE"], after["XPIXSZ"], after["YPIXSZ"]) == (0.18, 4.5, 4.5)
    assert after["PIXAR_A2"] == pytest.approx(0.0324)
    assert "DATASEC" not in after
    assert "LTV1" not in after
    assert after["OBJECT"] == "M13"
    assert finer.pixel_size == {"X": (0.18, "arcsec"), "C": (1.0, "")}


def test_lookup_tables_are_left_out_and_that_is_said():
    header = CASES["cd"].copy()
    header["CPDIS1"], header["CPERR1"] = "Lookup", 0.1
    after = fits.Header.fromstring(
        rescale_header(Header(fits_header=text_of(header)), (2.0, 2.0)).fits_header, sep="\n"
    )
    assert "CPDIS1" not in after
    assert "Lookup-table distortions were left out" in str(after["HISTORY"])


def test_an_unchanged_grid_changes_nothing():
    given = Header(fits_header=text_of(CASES["sip"]))
    assert rescale_header(given, (1.0, 1.0)) is given


@pytest.mark.parametrize("zoom", [(2.0, 2.0), (2.0, 3.0)])
@pytest.mark.parametrize(
    "cards",
    [
        {"PC1_1": 1e-3, "PC2_2": 1e-3, "PC1_2": 2e-4},  # CDELT left out: 1
        {"CDELT1": 1e-3, "CDELT2": 1e-3, "PC001001": 0.8, "PC001002": -0.6},
        {"CDELT1": 1e-3, "CDELT2": 1e-3, "CROTA2": 0.0},
    ],
    ids=["PC alone", "old PC", "CROTA"],
)
def test_other_forms_of_the_matrix(cards, zoom):
    check(linear(**cards), zoom)


def test_alternates_follow_by_themselves():
    header = CASES["cdelt"].copy()
    for name, value in {
        "CTYPE1A": "RA---TAN", "CTYPE2A": "DEC--TAN", "CRVAL1A": 10.0, "CRVAL2A": 20.0,
        "CRPIX1A": 5.0, "CRPIX2A": 6.0, "CD1_1A": -1e-4, "CD2_2A": 1e-4,
    }.items():  # fmt: skip
        header[name] = value
    finer = rescale_header(Header(fits_header=text_of(header)), (2.0, 4.0))
    after = fits.Header.fromstring(finer.fits_header, sep="\n")
    assert (after["CRPIX1A"], after["CRPIX2A"]) == (18.5, 11.5)
    assert (after["CD1_1A"], after["CD2_2A"]) == (-2.5e-5, 5e-5)
    assert after["CDELT1"] == -2.5e-5


@pytest.mark.parametrize(
    "card",
    ["CRPIX1  = 'unknown'", "CDELT1  = 'N/A'", "CRPIX1  =", "CDELT1  = 1.0e-", "CRPIX1  = 512,5",
     "PIXSCALE= 'small'"],
)  # fmt: skip
def test_a_card_that_is_no_number_spoils_nothing_else(card):
    given = text_of(CASES["cdelt"]).split("\n")
    given = [line for line in given if line[:8] != card[:8]] + [card.ljust(80)]
    finer = rescale_header(Header(fits_header="\n".join(given)), (2.0, 2.0))
    after = fits.Header.fromstring(finer.fits_header, sep="\n")
    assert (after["CRPIX2"], after["CDELT2"]) == (33.5, 5e-5)


def test_the_detector_s_cards_are_not_true_of_finer_pixels():
    header = CASES["cdelt"].copy()
    header["GAIN"], header["SATURATE"], header["RDNOISE"], header["EXPTIME"] = 2.0, 6e4, 5.0, 30.0
    finer = rescale_header(Header(fits_header=text_of(header)), (2.0, 2.0))
    after = fits.Header.fromstring(finer.fits_header, sep="\n")
    assert "EXPTIME" in after
    assert not {"GAIN", "SATURATE", "RDNOISE"} & set(after)


def test_a_plate_solution_that_astropy_wrote_as_a_distortion_too_is_read(data_folder, tmp_path):
    # wcslib overruns its memory when it meets both; the process would end here.
    plate = CCDData.read(data_folder / "astronomy" / "HorseHead.fits", unit="adu")[300:364, 300:364]
    plate.write(tmp_path / "part.fits")
    header = napari_dip.read(tmp_path / "part.fits").header
    wcs = parse_wcs(fits.Header.fromstring(header.fits_header, sep="\n"))
    corners = [[0, 0], [63, 0], [0, 63], [63, 63]]
    expected = plate.wcs.wcs_pix2world(corners, 0)
    np.testing.assert_allclose(wcs.wcs_pix2world(corners, 0), expected, rtol=0, atol=1e-9)
    assert header.pixel_size["X"][0] == pytest.approx(1.01, abs=0.01)
