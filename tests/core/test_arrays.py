"""Large arrays: lazy input is read in parts, and what does not fit in memory is kept on disk."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_dip import Observation, iter_restore, read, restore, write
from napari_dip.core import arrays
from napari_dip.core.errors import ObservationError


@pytest.fixture
def little_memory(monkeypatch):
    """As if hardly any memory were free."""
    monkeypatch.setattr(arrays, "MAX_ARRAY_SHARE", 0.0)
    monkeypatch.setattr(arrays, "BLOCK_PIXELS", 1000)


class Counted:
    """An array stored elsewhere that records the size of the largest part that was read."""

    def __init__(self, array):
        self._array, self.largest = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, place):
        part = self._array[place]
        self.largest = max(self.largest, part.size)
        return part


@pytest.mark.parametrize("axes", ["TCYX", "YXCT", "ZTYX"])
def test_a_lazy_array_is_read_in_parts_and_gives_the_same_observation(axes, little_memory):
    array = np.random.default_rng(0).normal(size=[40 if a in "YX" else 3 for a in axes])
    array.flat[::7] = np.nan
    lazy = Counted(array)
    observation = Observation.from_array(lazy, axes=axes)
    assert lazy.largest <= 1000
    assert observation.digest() == Observation.from_array(array, axes=axes).digest()
    np.testing.assert_array_equal(observation.to_input_axes(observation.y), array.astype(np.float32))


def test_dask_arrays_are_observations():
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    array = np.random.default_rng(0).normal(size=(5, 40, 50))
    lazy = Observation.from_array(da.from_array(array, chunks=(1, 40, 50)), axes="TYX")
    assert lazy.digest() == Observation.from_array(array, axes="TYX").digest()


def test_a_restoration_on_disk_equals_one_in_memory(observation, fast_recipe, monkeypatch):
    inside = restore(observation, fast_recipe)
    monkeypatch.setattr(arrays, "MAX_ARRAY_SHARE", 0.0)
    on_disk = Observation.from_array(observation.y[0, 0, 0], axes="YX")
    with iter_restore(on_disk, fast_recipe, snapshot_every=1) as run:
        images = [progress.image for progress in run]
    assert images
    assert set(map(type, images)) == {type(None)}  # no whole image is brought into memory
    outside = run.result
    assert isinstance(outside.image, np.memmap)
    np.testing.assert_array_equal(inside.image, outside.image)
    np.testing.assert_array_equal(inside.inpainted, outside.inpainted)


def test_files_are_read_to_disk_with_the_same_pixels(tmp_path, observation, little_memory):
    cube = np.random.default_rng(0).integers(0, 60_000, (2, 3, 50, 40)).astype(np.uint16)
    fits.ImageHDU(cube).writeto(tmp_path / "a.fits")  # scaled: BZERO
    fits.CompImageHDU(cube[0, 0].astype(np.int32)).writeto(tmp_path / "c.fits")
    tifffile.imwrite(tmp_path / "a.tif", cube, byteorder=">", metadata={"axes": "TCYX"}, ome=True)
    for name, pixels in (("a.fits", cube), ("c.fits", cube[0, 0]), ("a.tif", cube)):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found.to_input_axes(found.y), pixels)
        assert isinstance(found.y, np.memmap)


def test_a_result_on_disk_is_written(tmp_path, observation, fast_recipe, little_memory):
    result = restore(observation, fast_recipe)
    for name in ("r.fits", "r.tif"):
        write(tmp_path / name, result)
        back = read(tmp_path / name)
        np.testing.assert_array_equal(
            back.to_input_axes(back.y), np.where(result.inpainted, np.nan, result.image)
        )


def test_temporary_files_are_deleted_with_their_arrays(tmp_path, monkeypatch, little_memory):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = arrays.full((100, 100), 3.0, np.float32)
    assert (array == 3).all()
    del array
    gc.collect()
    assert not list(tmp_path.iterdir())
    if Path("/proc/self/fd").exists():
        opened = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
        assert not [name for name in opened if str(tmp_path) in name]


def test_a_full_disk_is_reported_before_anything_is_written(monkeypatch, little_memory):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("usage", (), {"free": 1000}))
    with pytest.raises(
        ObservationError, match=r"an image needs 0\.04 GB, more than memory and the disk of .*TMPDIR"
    ):
        arrays.empty((1000, 10_000), np.float32)
