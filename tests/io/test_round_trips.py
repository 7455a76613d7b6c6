"""What is written is read again: generated images of every layout, with units, masks and headers.

``--hypothesis-profile=many`` tries many others.
"""

import string
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_dip import Header
from napari_dip.io import ImageData, read_images, write_image
from napari_dip.io.fits.cards import header_text, parse_cards

SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
LENGTH_UNITS = ("um", "nm", "mm", "cm", "m", "angstrom", "pm")
TIME_UNITS = ("s", "ms", "us", "min", "h", "d")
DTYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")

names = st.text(string.ascii_letters + string.digits + " _-", min_size=1, max_size=12).map(str.strip)
sizes = st.floats(1e-3, 1e3).map(lambda size: float(f"{size:.6g}"))


@st.composite
def images(draw, dtypes=DTYPES):
    """Pixels of any layout, with axes in the order of files."""
    letters = "".join(letter for letter in "TZC" if draw(st.booleans())) + "YX"
    ends = {"T": (5, 7), "Z": (2, 4), "C": (2, 5), "Y": (32, 40), "X": (32, 40)}
    shape = tuple(draw(st.integers(*ends[letter])) for letter in letters)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    pixels = rng.integers(0, 120, shape).astype(draw(st.sampled_from(dtypes)))
    return ImageData(pixels, letters)


def written_and_read(image, suffix, metadata=None, **options):
    """Return the images of a file that `image` was written to."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / f"a{suffix}"
        write_image(path, image, metadata, **options)
        return read_images(path)


@SETTINGS
@given(image=images(), data=st.data())
def test_ome_tiff(image, data):
    units = {a: TIME_UNITS if a == "T" else LENGTH_UNITS for a in image.axes if a != "C"}
    pixel_size = {a: (data.draw(sizes), data.draw(st.sampled_from(known))) for a, known in units.items()}
    number = dict(zip(image.axes, image.array.shape, strict=True)).get("C", 0)
    channels = tuple(data.draw(st.lists(names.filter(bool), min_size=number, max_size=number)))
    header = Header(name=data.draw(names.filter(bool)), pixel_size=pixel_size, channels=channels)
    (read,) = written_and_read(replace(image, header=header), ".ome.tif")
    assert read.axes == image.axes
    np.testing.assert_array_equal(read.array, image.array)
    assert read.array.dtype == image.array.dtype
    assert read.header.name == header.name
    assert read.header.channels == channels
    assert {a: unit for a, (_, unit) in read.header.pixel_size.items()} == {
        a: unit for a, (_, unit) in pixel_size.items()
    }
    for letter, (size, _) in pixel_size.items():
        assert read.header.pixel_size[letter][0] == pytest.approx(size)


@SETTINGS
@given(image=images(("uint8", "uint16", "float32")), data=st.data())
def test_imagej_tiff(image, data):
    unit = data.draw(st.sampled_from(LENGTH_UNITS))
    pixel_size = {a: (data.draw(sizes), unit) for a in "YX" + "Z" * ("Z" in image.axes)}
    if "T" in image.axes:
        pixel_size["T"] = (data.draw(sizes), data.draw(st.sampled_from(TIME_UNITS)))
    header = Header(pixel_size=pixel_size)
    (read,) = written_and_read(replace(image, header=header), ".tif", format="imagej")
    assert read.axes == image.axes
    np.testing.assert_array_equal(read.array, image.array)
    seconds = {"s": 1, "ms": 1e-3, "us": 1e-6, "min": 60, "h": 3600, "d": 86400}
    for letter, (size, own) in pixel_size.items():
        expected = (size * seconds[own], "s") if letter == "T" else (size, own)
        found = read.header.pixel_size[letter]
        assert found == (pytest.approx(expected[0], rel=1e-5), expected[1])


CARDS = st.dictionaries(
    st.text(string.ascii_uppercase, min_size=3, max_size=6).map(lambda text: f"X{text}"),
    st.one_of(
        st.integers(-(10**9), 10**9),
        st.floats(-1e30, 1e30).map(lambda value: float(f"{value:.8g}")),
        st.booleans(),
        # No slash: astropy takes one after a quote in a text for the beginning of the comment.
        st.text(string.ascii_letters + "0123456789 '=-", max_size=60).map(str.strip),
    ),
    max_size=6,
)


@SETTINGS
@given(image=images(("uint8", "int16", "int32", "float32", "float64")), cards=CARDS, data=st.data())
def test_fits(image, cards, data):
    # FITS has no names of axes but CTYPE: five planes or more without one are times.
    if set(image.axes) & set("TZC") == {"Z"}:
        image = replace(image, axes=image.axes.replace("Z", "C"))
    header = fits.Header()
    number = len(image.axes)
    kinds = {"C": "FREQ", "T": "TIME", "Z": "DEPTH"}
    for axis, letter in enumerate(reversed(image.axes), start=1):
        if letter in kinds:
            header[f"CTYPE{axis}"] = kinds[letter]
    header["NAXIS"], header["BUNIT"] = number, data.draw(st.sampled_from(("adu", "Jy/beam", "electron")))
    header.update(cards)
    text = header.tostring(sep="\n", endcard=False, padding=False)
    source = replace(image, header=Header(fits_header=text, unit=header["BUNIT"]))
    (read,) = written_and_read(source, ".fits")
    np.testing.assert_array_equal(read.array, image.array)
    if "Z" not in image.axes:
        assert read.axes == image.axes
    assert read.header.unit == header["BUNIT"]
    after = fits.Header.fromstring(read.header.fits_header, sep="\n")
    assert {name: after[name] for name in cards} == cards
    (again,) = written_and_read(read, ".fits.gz")
    assert again.axes == read.axes
    lines = [
        [
            line
            for line in found.header.fits_header.split("\n")
            if not line.startswith(("CHECKSUM", "DATASUM"))
        ]
        for found in (read, again)
    ]
    assert lines[0] == lines[1]


@SETTINGS
@given(image=images(("float32",)), data=st.data())
def test_masks_and_errors_of_fits(image, data):
    image = replace(image, axes=image.axes.replace("Z", "") if "Z" in image.axes else image.axes)
    shape = image.array.shape[-2:]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    mask, sigma = rng.random(shape) < 0.1, rng.uniform(1, 5, shape).astype(np.float32)
    form, noise = data.draw(
        st.sampled_from((("ERR", sigma), ("VARIANCE", sigma**2), ("IVAR", sigma**-2.0)))
    )
    flags = data.draw(st.sampled_from(("DQ", "MASK", "FLG", "MSK")))
    plane = image.array.reshape(-1, *shape)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fits"
        planes = [
            fits.ImageHDU(plane, name="SCI"),
            fits.ImageHDU(noise, name=form),
            fits.ImageHDU(mask.astype(np.int16), name=flags),
        ]
        order = data.draw(st.permutations(range(3)))
        fits.HDUList([fits.PrimaryHDU(), *(planes[n] for n in order)]).writeto(path)
        (read,) = read_images(path)
        write_image(Path(folder) / "b.fits", read)
        (again,) = read_images(Path(folder) / "b.fits")
    for found in (read, again):
        np.testing.assert_array_equal(found.bad_mask if mask.any() else np.zeros(shape, bool), mask)
        np.testing.assert_allclose(found.sigma, sigma, rtol=1e-5)


ODD_LINES = st.text(string.printable[:95], max_size=60).map(
    lambda text: f"ODDCARD = {text}".ljust(80)[:80]
)


@SETTINGS
@given(lines=st.lists(ODD_LINES, max_size=4))
def test_cards_are_those_of_the_file_whatever_they_are(lines):
    hdu = fits.PrimaryHDU(np.zeros((40, 44), np.float32))
    standard = header_text(hdu).split("\n")
    numbered = [line.replace("ODDCARD ", f"ODD{n}".ljust(8)) for n, line in enumerate(lines)]
    text = "\n".join([*standard, *numbered])
    assert str(parse_cards(text).tostring(sep="\n", endcard=False, padding=False)) == text
