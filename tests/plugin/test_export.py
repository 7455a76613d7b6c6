"""Copy as Python and Save recipe repeat the run, bit for bit."""

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QFileDialog

import napari_dip as dip
from napari_dip import Recipe, restore
from napari_dip.datasets import star_field
from napari_dip.io import read_images
from napari_dip.plugin.script import script_for


@pytest.fixture
def opened(viewer, tmp_path, quick_dock):
    """A dock on a frame of a file, with quick settings."""
    star_field(seed=1, side=64, stars=10).writeto(tmp_path / "frame.fits")
    viewer.open(tmp_path / "frame.fits", plugin="napari-dip")
    return quick_dock("Denoise")


def finished(dock, qtbot):
    with qtbot.waitSignal(dock.session.finished, timeout=300_000) as found:
        dock.run_controls.run_button.click()
    return found.args[0]


def test_the_script_of_a_file_repeats_the_run(opened, qtbot, tmp_path):
    opened.export_menu.copy_action.trigger()
    text = QApplication.clipboard().text()
    assert "dip.restore('" in text
    assert "Recipe.preset('denoise').with_settings({" in text
    assert "num_threads" not in text
    result = finished(opened, qtbot)
    done = {}
    exec(text, done)
    np.testing.assert_array_equal(done["result"].image, result.image)
    (image,) = read_images(tmp_path / "frame restored.fits")[:1]
    np.testing.assert_array_equal(image.array, result.image)


def test_with_a_painted_mask_it_is_for_the_console(opened, qtbot, viewer):
    opened.inputs.mask.layer().data[20:24, 30:40] = 1
    opened.export_menu.copy_action.trigger()
    text = QApplication.clipboard().text()
    assert "console" in text
    result = finished(opened, qtbot)
    done = {"viewer": viewer}
    exec(text, done)
    np.testing.assert_array_equal(done["result"].image, result.image)
    assert done["result"].inpainted[20:24, 30:40].all()


def test_a_saved_recipe_repeats_the_run(opened, qtbot, tmp_path, monkeypatch):
    target = tmp_path / "my.recipe.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target.with_suffix("")), ""))
    opened.export_menu.save_action.trigger()
    assert "napari-dip run my.recipe.json" in opened.status.text()
    result = finished(opened, qtbot)
    recipe = Recipe.from_json(target.read_text("utf-8"))
    again = restore(tmp_path / "frame.fits", recipe)
    np.testing.assert_array_equal(again.image, result.image)


def test_a_recipe_that_cannot_be_saved_says_so(opened, tmp_path, monkeypatch):
    target = tmp_path / "nowhere" / "mine.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    opened.export_menu.save_action.trigger()
    assert "not saved" in opened.status.text()


@pytest.mark.parametrize("preset", ["denoise", "deconvolve", "dynamic-mri", "inpaint"])
@pytest.mark.parametrize("level", ["fast", "best"])
def test_the_recipe_in_a_script_is_that_of_the_dock(model, preset, level):
    layer = model.add_image(np.eye(40), name="it's")
    changes = {"seed": 7, "noise.kind": "poisson", "noise.gain": 2.5}
    for recipe in (
        Recipe.preset(preset),
        Recipe.preset(preset).with_quality(level).with_settings(changes),
    ):
        text = script_for(recipe, layer, axes="YX")
        line = next(line for line in text.splitlines() if line.startswith("recipe = "))
        assert len(line) < 200
        done = {"dip": dip}
        exec(line, done)
        assert done["recipe"] == recipe
        compile(text, "script", "exec")
