"""Results that cannot be written where they should be are not lost."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import napari_dip as dip
from napari_dip.core.errors import WriteError
from napari_dip.core.observation import Observation
from napari_dip.io import files, read_first_image
from napari_dip.run import rescue
from napari_dip.run.recipe import Recipe

QUICK = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed", "solver.max_steps": 2}


@pytest.fixture(scope="module")
def result():
    image = np.random.default_rng(0).normal(100, 5, (40, 48)).astype(np.float32)
    return dip.restore(image, Recipe.preset("denoise").with_settings(QUICK))


@pytest.mark.parametrize("beside", [True, False])
def test_a_result_is_saved_beside_or_in_a_temporary_folder(tmp_path, monkeypatch, result, beside):
    folder, temporary = tmp_path / "night", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(rescue.tempfile, "gettempdir", lambda: str(temporary))
    write_image = files.write_image

    def fail(path, *args, **kwargs):
        if path == folder / "a.fits" or (not beside and path.parent == folder):
            raise WriteError(f"{path} could not be written: No space left on device")
        write_image(path, *args, **kwargs)

    monkeypatch.setattr(files, "write_image", fail)
    with pytest.raises(WriteError, match="No space left on device; the result is in") as caught:
        rescue.write_or_rescue(folder / "a.fits", result)
    (rescued,) = (folder if beside else temporary).iterdir()
    assert str(rescued) in str(caught.value)
    np.testing.assert_array_equal(read_first_image(rescued).array, result.image)


def test_what_can_be_written_is(tmp_path, result):
    rescue.write_or_rescue(tmp_path / "a.fits", result)
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    image = np.random.default_rng(0).normal(100, 5, (1000, 1000)).astype(np.float32)
    observation = Observation.from_array(image, axes="YX")
    recipe = Recipe.preset("denoise")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2.5e6))
    rescue.check_free_space(tmp_path / "a.fits", observation, recipe)
    with pytest.raises(WriteError, match="free, and the result needs"):
        rescue.check_free_space(
            tmp_path / "a.fits", observation, recipe.with_settings({"ensemble.size": 4})
        )
    larger = Recipe.preset("super-resolution")
    with pytest.raises(WriteError, match="needs"):
        rescue.check_free_space(tmp_path / "a.fits", observation, larger)
