"""What is remembered from one day to the next: presets, the last run's settings, preferences."""

import numpy as np
import pytest
from qtpy.QtWidgets import QInputDialog

from napari_dip.plugin import preferences as remembered
from napari_dip.plugin.session.run import State


def opened(viewer):
    return viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]


def choose(dock, text):
    dock.form.task.setCurrentIndex(dock.form.task.findText(text))


def test_settings_are_kept_as_a_task_and_found_again(viewer, monkeypatch):
    dock = opened(viewer)
    dock.form.entry("noise.sigma").value = "4.5"
    dock.form.entry("network.channels").value = 24
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("my CCD: dark/sky", True))
    dock.keep.task_button.click()
    assert "is under Task" in dock.status.text()
    viewer.window.remove_dock_widget(dock)
    again = opened(viewer)
    choose(again, "my CCD_ dark_sky")
    assert again.form.level.currentText() == "as saved"
    recipe = again.form.recipe()
    assert (recipe.noise.sigma, recipe.network.channels) == (4.5, 24)
    again.form.level.setCurrentText("fast")
    assert again.form.recipe().noise.sigma == 4.5
    choose(again, "Inpaint")
    assert again.form.level.findText("as saved") < 0
    assert again.form.recipe().keep_observed


def test_the_last_run_s_settings_are_offered(viewer, quick_dock, qtbot):
    dock = quick_dock("Denoise")
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (40, 40)))
    dock.panel.run_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=30_000)
    _, other = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    assert other.form.recipe().network.channels != 8
    choose(other, remembered.LAST_RUN)
    assert other.form.recipe() == dock.form.recipe()


def test_a_task_whose_file_is_spoilt_is_told(viewer, presets_folder):
    presets_folder.mkdir(parents=True)
    (presets_folder / "old.json").write_text('{"nosie": {}}')
    dock = opened(viewer)
    before = dock.form.recipe()
    choose(dock, "old")
    assert "nosie" in dock.status.text()
    assert dock.form.recipe() == before


@pytest.fixture
def preferences():
    told = remembered.preferences()
    before = told.computing.device, told.computing.memory, told.beginning.quality
    yield told
    told.computing.device, told.computing.memory, told.beginning.quality = before


def test_docks_begin_with_what_the_preferences_say(viewer, preferences):
    preferences.computing.device, preferences.computing.memory = "cpu", 2.5
    preferences.beginning.quality = "fast"
    recipe = opened(viewer).form.recipe()
    assert (recipe.compute.device, recipe.compute.memory) == ("cpu", 2.5)
    assert recipe == recipe.at_level("fast")
