"""Files that the first version of napari-dip wrote: their pixels open, their recipes are refused."""

import json

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_dip import Recipe, SettingsError, read, restore, write
from napari_dip.io import read_images, read_provenance, read_recipe
from napari_dip.run.batch import plan_jobs, run_job

RECIPE = {
    "title": "Denoise",
    "noise": {"kind": "gaussian", "sigma": 5.0},
    "code": {"kind": "uniform-noise"},
    "solver": {"max_steps": 5},
}
PROVENANCE = {"verdict": "took step 5 of 5", "chosen": [5], "reason": "all 5 steps", "split": "none"}
SENTENCE = "there is no setting 'code'; it may belong to another version of napari-dip"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(100, 5, (40, 48)).astype(np.float32)


@pytest.fixture(params=["old.fits", "old.ome.tif"])
def path(request, tmp_path, pixels):
    path = tmp_path / request.param
    inpainted = np.zeros(pixels.shape, np.uint8)
    inpainted[3:5, 7:9] = 1
    if path.suffix == ".fits":
        cards = {
            "DIPVER": "0.1", "DIPSEED": 0, "DIPITER": 5, "DIPNOISE": "estimated", "DIPVERD": "took 5",
            "DIPRECIP": json.dumps(RECIPE), "DIPPROV": json.dumps(PROVENANCE),
        }  # fmt: skip
        filled = fits.ImageHDU(inpainted, name="FILLED")
        filled.header["DIPOF"], filled.header["DIPOFVER"] = "PRIMARY", 1
        fits.HDUList([fits.PrimaryHDU(pixels, fits.Header(cards)), filled]).writeto(path)
        return path
    notes = {"napari-dip recipe": json.dumps(RECIPE), "napari-dip provenance": json.dumps(PROVENANCE)}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(pixels, metadata={"axes": "YX", "Name": "image", "MapAnnotation": notes})
        tiff.write(inpainted, metadata={"axes": "YX", "Name": "FILLED"})
    return path


def test_the_pixels_and_the_mask_open(path, pixels):
    (image,) = read_images(path)
    np.testing.assert_array_equal(image.array, pixels)
    assert image.bad_mask[3:5, 7:9].all()
    assert image.bad_mask.sum() == 4
    assert read_provenance(path)["recipe"] == RECIPE


def test_the_recipe_is_refused_by_name_in_one_sentence(path, call, tmp_path):
    with pytest.raises(SettingsError, match=SENTENCE):
        Recipe.from_json(read_recipe(path), source=path.name)
    status, _, errors = call("run", path, path, tmp_path / "out.fits")
    assert status == 2
    assert errors == f"napari-dip: {path}: {SENTENCE}\n"
    assert not (tmp_path / "out.fits").exists()


def test_info_describes_the_file_and_says_why_its_recipe_cannot_be_shown(path, call):
    status, said, _ = call("info", path)
    assert status == 0
    assert "Y 40 x X 48, float32, 4 missing" in said
    assert f"written by another version of napari-dip: {path}: {SENTENCE}" in said


def test_a_result_of_such_a_file_has_the_new_cards_alone(path, fast_recipe, tmp_path):
    write(tmp_path / "out.fits", restore(read(path), fast_recipe))
    header = fits.getheader(tmp_path / "out.fits")
    assert {"DIPSTEP", "DIPNSRC", "DIPSUMM"} <= set(header)
    assert not {"DIPITER", "DIPNOISE", "DIPVERD"} & set(header)
    assert Recipe.from_json(read_recipe(tmp_path / "out.fits")) == fast_recipe


def test_a_batch_does_not_take_such_a_file_for_its_own_result(path, fast_recipe, tmp_path, pixels):
    source = tmp_path / "in" / path.name
    source.parent.mkdir()
    source.write_bytes(path.read_bytes())
    (job,) = plan_jobs(fast_recipe, [str(source)], tmp_path)
    result = run_job(job)
    assert result.state == "failed"
    assert "exists: allow overwriting" in result.reason
    np.testing.assert_array_equal(read_images(path)[0].array, pixels)
