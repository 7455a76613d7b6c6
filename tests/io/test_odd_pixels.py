"""Whole files with odd pixels: they open as they are, and a restoration says why it cannot, or can."""

import errno

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_dip import read, restore, write
from napari_dip.core.errors import ObservationError, RestorationError, WriteError
from napari_dip.io import check_writable, read_images

SHAPE = (40, 48)
SKY = np.random.default_rng(0).normal(100, 9, SHAPE)


def but(place, value, array=SKY):
    changed = np.array(array, dtype=float)
    changed[place] = value
    return changed


# Pixels, and what of them cannot be restored; None where all can.
PIXELS = {
    "all NaN": (np.full(SHAPE, np.nan), "no pixel is observed"),
    "all infinite": (np.full(SHAPE, np.inf), "no pixel is observed"),
    "one is NaN": (but((3, 4), np.nan), None),
    "one is infinite": (but((3, 4), -np.inf), None),
    "half of them NaN": (but(np.s_[:20], np.nan), None),
    "constant": (np.full(SHAPE, 7.0), "the same value"),
    "constant but for NaN": (but(np.s_[3], np.nan, np.full(SHAPE, 7.0)), "the same value"),
    "saturated": (np.full(SHAPE, 65535, np.uint16), "the same value"),
    "zeros": (np.zeros(SHAPE, np.int16), "the same value"),
    "one pixel": (np.ones((1, 1)), "at least 32 x 32"),
    "one row": (np.ones((1, 500)), "at least 32 x 32"),
    "tiny values": (SKY * 1e-20, None),
    "large values": (SKY * 1e20, None),
    "a value beyond float32": (but((3, 4), 1e300), "do not fit in float32"),
    "all beyond float32": (SKY * 1e300, "do not fit in float32"),
    "negative": (-SKY, None),
    "int64": ((SKY * 1e12).astype(np.int64), None),
    "uint8": (SKY.astype(np.uint8), None),
    "two values": ((SKY > 100).astype(np.uint8), None),
    "a spike of 1e9": (but((3, 4), 1e9), None),
}


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("suffix", [".fits", ".tif"])
@pytest.mark.filterwarnings("ignore")
def test_odd_pixels_are_read_as_they_are_and_restored_or_refused(tmp_path, fast_recipe, kind, suffix):
    array, said = PIXELS[kind]
    path = tmp_path / f"odd{suffix}"
    if suffix == ".fits":
        fits.writeto(path, array)
    else:
        tifffile.imwrite(path, array, photometric="minisblack")
    (image,) = read_images(path)
    np.testing.assert_array_equal(image.array, array)
    if said is not None:
        with pytest.raises(ObservationError, match=said) as error:
            read(path)
        assert "\n" not in str(error.value)
        return
    result = restore(read(path), fast_recipe.with_settings({"extrapolate": True}))
    assert np.isfinite(result.image).all()
    seen = array.astype(np.float32)
    np.testing.assert_array_equal(result.inpainted, ~np.isfinite(seen))
    write(tmp_path / f"out{suffix}", result)
    np.testing.assert_array_equal(read_images(tmp_path / f"out{suffix}")[0].array, result.image)


def planes(science=SKY, **others):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(science, name="SCI")]
    hdus += [fits.ImageHDU(array, name=name) for name, array in others.items()]
    return fits.HDUList(hdus)


def carded(**cards):
    hdus = planes()
    hdus[1].header.update(cards)
    return hdus


SKY_COORDINATES = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
FLAGS = np.ones(SHAPE, np.int16)
HDUS = {
    "flags of another shape": (planes(DQ=np.ones((20, 20), np.int16)), None),
    "all are flagged": (planes(DQ=FLAGS), "no pixel is observed"),
    "flags with all bits": (planes(DQ=-FLAGS), "no pixel is observed"),
    "an error plane of zeros": (planes(ERR=np.zeros(SHAPE, np.float32)), None),
    "an error plane of NaN": (planes(ERR=np.full(SHAPE, np.nan, np.float32)), None),
    "a negative variance": (planes(VAR=but((3, 4), -1, np.ones(SHAPE))), None),
    "weights of zero": (planes(WHT=np.zeros(SHAPE, np.float32)), "no pixel is observed"),
    "a singular CD": (carded(**SKY_COORDINATES, CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0), None),
    "a CD of NaN text": (carded(**SKY_COORDINATES, CD1_1="NaN"), None),
    "half a pair of axes": (carded(CTYPE1="RA---TAN"), None),
    "an unknown projection": (carded(CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ"), None),
    "a lookup table that is not there": (
        carded(**SKY_COORDINATES, CPDIS1="LOOKUP", CPDIS2="LOOKUP", **{"DP1.EXTVER": 1.0}), None,
    ),
    "BLANK in real numbers": (carded(BLANK=2), None),
    "BUNIT of signs": (carded(BUNIT="??/[]"), None),
    "GAIN 0": (carded(GAIN=0.0, RDNOISE=-5.0), None),
    "GAIN text": (carded(GAIN="high"), None),
}  # fmt: skip


@pytest.mark.parametrize("kind", HDUS)
@pytest.mark.filterwarnings("ignore")
def test_odd_planes_and_cards_do_not_stop_an_image(tmp_path, fast_recipe, kind):
    hdus, said = HDUS[kind]
    path = tmp_path / "odd.fits"
    hdus.writeto(path, output_verify="ignore")
    image = read_images(path)[0]
    np.testing.assert_array_equal(image.array, SKY)
    if said is not None:
        with pytest.raises(ObservationError, match=said):
            read(path)
        return
    result = restore(read(path), fast_recipe)
    assert np.isfinite(result.image).all()
    write(tmp_path / "out.fits", result)
    with fits.open(tmp_path / "out.fits") as again:
        np.testing.assert_array_equal(again["SCI"].data, result.image)
        for card in hdus[1].header.cards:
            if card.keyword.startswith(("CTYPE", "CD", "BUNIT", "GAIN", "CPDIS")):
                assert again["SCI"].header[card.keyword] == card.value


@pytest.mark.parametrize(("scale", "zero"), [("0.0", "5.0"), ("1E400", "0.0"), ("1.0", "1E400")])
@pytest.mark.filterwarnings("ignore")
def test_scales_that_make_no_sense_leave_no_image(tmp_path, scale, zero):
    path = tmp_path / "odd.fits"
    fits.writeto(path, np.arange(40 * 48, dtype=np.int16).reshape(SHAPE))
    end, content = b"END".ljust(80), path.read_bytes()
    cards = "".join(f"{k:8}= {v:>20}".ljust(80) for k, v in (("BSCALE", scale), ("BZERO", zero)))
    header = content[:2880].replace(end, cards.encode() + end)[:2880]
    path.write_bytes(header + content[2880:])
    with pytest.raises(RestorationError) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("suffix", "kind"), [(".fits", np.int16), (".tif", np.uint8)])
def test_axes_without_a_letter_become_time_and_surplus_ones_one_axis(tmp_path, suffix, kind):
    array = np.random.default_rng(0).integers(1, 255, (2, 3, 2, 2, 40, 50), kind)
    path = tmp_path / f"a{suffix}"
    if suffix == ".fits":
        fits.writeto(path, array)
    else:
        tifffile.imwrite(path, array)
    (image,) = read_images(path)
    assert image.axes == "TZCYX"
    np.testing.assert_array_equal(image.array, array.reshape(6, 2, 2, 40, 50))


def test_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    def mkstemp(**_):  # root may write everywhere
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", mkstemp)
    with pytest.raises(WriteError, match=r"out\.fits cannot be written: Permission denied"):
        check_writable(tmp_path / "out.fits")


def test_the_output_is_tried_before_the_fit(tmp_path):
    name = tmp_path / f"{250 * 'a'}.fits"
    with pytest.raises(WriteError, match="cannot be written: File name too long"):
        check_writable(name)
    check_writable(tmp_path / "out.fits")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_replaced_after_it_was_read_does_not_spoil_the_result(tmp_path, fast_recipe):
    fits.writeto(tmp_path / "in.fits", SKY)
    observation = read(tmp_path / "in.fits")
    (tmp_path / "in.fits").write_bytes(b"no FITS any more")
    result = restore(observation, fast_recipe)
    with pytest.raises(WriteError, match=r"in\.fits"):
        write(tmp_path / "out.fits", result)
    (tmp_path / "in.fits").unlink()
    write(tmp_path / "out.fits", result)
    np.testing.assert_array_equal(read_images(tmp_path / "out.fits")[0].array, result.image)
