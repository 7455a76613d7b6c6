"""Files with bytes changed at random: an image, or one sentence, and never anything else.

``--hypothesis-profile=many`` tries many others.
"""

import gzip
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_dip.core.errors import ObservationError, ReadError
from napari_dip.datasets import star_field
from napari_dip.io import read_images, read_provenance

RNG = np.random.default_rng(0)
PLANES = RNG.integers(1, 250, (3, 40, 50), np.uint8)


def _fits(*hdus):
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


def _tiff(array=PLANES, photometric="minisblack", **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric=photometric, **options)
    return file.getvalue()


def _seeds():
    sky = star_field(seed=1, side=48, stars=5)
    file = io.BytesIO()
    sky.writeto(file)
    scaled = fits.PrimaryHDU(RNG.integers(0, 60000, (40, 50), np.uint16))
    tiles = fits.CompImageHDU(RNG.integers(0, 999, (40, 50), np.int16), compression_type="RICE_1")
    floats = fits.CompImageHDU(RNG.normal(size=(40, 50)).astype(np.float32), compression_type="GZIP_2")
    yield "sky.fits", file.getvalue()
    yield "sky.fits.gz", gzip.compress(file.getvalue(), mtime=0)
    yield "scaled.fits", _fits(scaled)
    yield "rice.fits", _fits(fits.PrimaryHDU(), tiles)
    yield "gzip.fits", _fits(fits.PrimaryHDU(), floats)
    yield "plain.tif", _tiff()
    yield (
        "ome.ome.tif",
        _tiff(ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1}, compression="zlib"),
    )
    yield "imagej.tif", _tiff(imagej=True, resolution=(5, 5), metadata={"unit": "um", "axes": "ZYX"})
    yield "lzw.tif", _tiff(compression="lzw", predictor=True)
    yield "tiles.tif", _tiff(tile=(16, 16), bigtiff=True, compression="zstd")
    yield "jpeg.tif", _tiff(np.moveaxis(PLANES, 0, -1), photometric="rgb", compression="jpeg")
    yield "big.tif", _tiff(byteorder=">", photometric="palette", colormap=np.zeros((3, 256), np.uint16))


SEEDS = dict(_seeds())


@st.composite
def spoilt(draw):
    """A good file's name, and its content after some accidents."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    content = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 4))):
        # Half of the accidents happen in the first part, where the headers are.
        most = len(content) if draw(st.booleans()) else min(len(content), 3000)
        at = draw(st.integers(0, max(most - 1, 0)))
        match draw(st.sampled_from(["byte", "bytes", "cut", "gap", "twice", "number"])):
            case "byte":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "bytes":
                content[at : at + 8] = draw(st.binary(min_size=1, max_size=16))
            case "cut":
                del content[at:]
            case "gap":
                del content[at : at + draw(st.integers(1, 3000))]
            case "twice":
                content[at:at] = content[at : at + draw(st.integers(1, 3000))]
            case "number":
                size = draw(st.sampled_from([2, 4, 8]))
                value = draw(st.sampled_from([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63]))
                content[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
    return name, bytes(content)


def _opened(path):
    """The images of a file, none where it says why not."""
    try:
        return read_images(path)
    except ReadError as error:
        message = str(error)
    assert path.name in message
    assert "\n" not in message
    return []


def _check_observation(image):
    try:
        observation = image.to_observation()
    except ObservationError as error:
        message = str(error)
    else:
        assert np.isfinite(observation.y[observation.observed]).all()
        return
    assert "\n" not in message


@given(spoilt())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_spoilt_file_opens_or_says_why_not(file):
    name, content = file
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, name)
        path.write_bytes(content)
        for image in _opened(path):
            assert len(image.axes) == image.array.ndim
            assert {"Y", "X"} <= set(image.axes)
            for plane in (image.bad_mask, image.sigma):
                assert plane is None or plane.shape == image.array.shape
            _check_observation(image)
        with pytest.raises(ReadError):
            read_provenance(path)
