"""Real files through other libraries and the one-call functions: coordinates and units stay."""

import numpy as np
import pytest
import tifffile
from astropy.nddata import CCDData, Cutout2D

import napari_dip as dip
from napari_dip.run import recipe as recipes

FEW_STEPS = {
    "network.channels": 8,
    "network.depth": 3,
    "solver.max_steps": 3,
    "refinement.patch_method": "none",
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(recipes._QUALITY_SETTINGS, "fast", FEW_STEPS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gc_2mass_j.fits", "M13_blue_0001.fits", "HorseHead.fits"])
def test_a_fits_file_read_by_astropy_keeps_its_place_on_the_sky(data_folder, name):
    whole = CCDData.read(data_folder / "astronomy" / name, unit="adu")
    middle = tuple(size // 2 for size in whole.shape[::-1])
    part = Cutout2D(whole.data, middle, 64, wcs=whole.wcs)
    before = CCDData(part.data.astype(float), unit=whole.unit, wcs=part.wcs, meta=whole.meta)
    after = dip.denoise(before, quality="fast")
    assert type(after) is CCDData
    assert after.unit == before.unit
    assert np.isfinite(after.data).all()
    finer = dip.super_resolve(before, 2, quality="fast")
    assert finer.shape == (128, 128)
    if before.wcs is None or not before.wcs.has_celestial:
        return
    x, y = np.array([0, 63, 0, 63]), np.array([0, 0, 63, 63])
    sky = before.wcs.all_pix2world(x, y, 0)
    np.testing.assert_allclose(after.wcs.all_pix2world(x, y, 0), sky, rtol=0, atol=1e-9)
    fine = finer.wcs.all_pix2world(2 * x + 0.5, 2 * y + 0.5, 0)
    np.testing.assert_allclose(fine, sky, rtol=0, atol=1e-7)


def test_an_ome_tiff_read_into_xarray_keeps_its_coordinates(data_folder, tmp_path):
    xr = pytest.importorskip("xarray")
    path = data_folder / "microscopy" / "multi-channel.ome.tif"
    with tifffile.TiffFile(path) as tiff:
        axes, pixels = tiff.series[0].axes, tiff.asarray()
    pixels = np.asarray(pixels)[..., :64, :80]
    dims = [letter.lower() for letter in axes]
    coords = {dim: np.arange(size) * 0.25 for dim, size in zip(dims, pixels.shape, strict=True)}
    before = xr.DataArray(pixels, coords, dims, name="cells", attrs={"units": "counts"})
    after = dip.denoise(before, quality="fast")
    xr.testing.assert_identical(after.coords.to_dataset(), before.coords.to_dataset())
    assert after.dims == before.dims
    assert (after.name, after.attrs, after.dtype) == ("cells", before.attrs, np.float32)
    tifffile.imwrite(tmp_path / "out.ome.tif", after.values, metadata={"axes": axes})
    observation = dip.read(tmp_path / "out.ome.tif")
    written = np.nan_to_num(observation.to_input_axes(observation.y))  # NaN outside, where they are 0
    np.testing.assert_array_equal(written, after.values)
