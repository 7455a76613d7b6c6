"""What is kept between sessions: saved recipes, the settings of the last run, preferences."""

import numpy as np
import pytest
from qtpy.QtWidgets import QInputDialog

from napari_dip.plugin import preferences
from napari_dip.plugin.session.run import State


def opened(viewer):
    return viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]


def choose(dock, text):
    dock.form.tasks.task.setCurrentIndex(dock.form.tasks.task.findText(text))


def test_settings_are_saved_as_a_task(viewer, monkeypatch):
    dock = opened(viewer)
    dock.form.entry("noise.sigma").value = "4.5"
    dock.form.entry("network.channels").value = 24
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("my CCD: dark/sky", True))
    dock.export_menu.task_action.trigger()
    assert "is now listed among the tasks" in dock.status.text()
    viewer.window.remove_dock_widget(dock)
    again = opened(viewer)
    choose(again, "my CCD_ dark_sky")
    assert again.form.tasks.quality.currentText() == "saved settings"
    recipe = again.form.recipe()
    assert (recipe.noise.sigma, recipe.network.channels) == (4.5, 24)
    again.form.tasks.quality.setCurrentText("fast")
    assert again.form.recipe().noise.sigma == 4.5
    choose(again, "Inpaint")
    assert again.form.tasks.quality.findText("saved settings") < 0
    assert again.form.recipe().hard_data_consistency


def test_the_settings_of_the_last_run_are_a_task(viewer, quick_dock, qtbot):
    dock = quick_dock("Denoise")
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (40, 40)))
    dock.run_controls.run_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    _, other = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    assert other.form.recipe().network.channels != 8
    choose(other, preferences.LAST_RUN)
    assert other.form.recipe() == dock.form.recipe()


def test_a_damaged_task_is_reported(viewer, presets_folder):
    presets_folder.mkdir(parents=True)
    (presets_folder / "old.json").write_text('{"nosie": {}}')
    dock = opened(viewer)
    before = dock.form.recipe()
    choose(dock, "old")
    assert "nosie" in dock.status.text()
    assert dock.form.recipe() == before


@pytest.fixture
def page():
    """The plugin's page of napari's preferences, which gets its values back."""
    page = preferences.preferences()
    before = page.compute.device, page.compute.memory_limit, page.startup.quality
    yield page
    page.compute.device, page.compute.memory_limit, page.startup.quality = before


def test_docks_open_with_the_preferences(viewer, page):
    page.compute.device, page.compute.memory_limit = "cpu", 2.5
    page.startup.quality = "fast"
    recipe = opened(viewer).form.recipe()
    assert (recipe.compute.device, recipe.compute.memory_limit_gb) == ("cpu", 2.5)
    assert recipe == recipe.with_quality("fast")


def test_where_napari_has_no_pages_of_plugins_the_defaults_apply(monkeypatch):
    import napari.settings

    from napari_dip.plugin import preferences

    with_pages = preferences.preferences()
    has_pages = hasattr(napari.settings, "get_plugin_settings")
    monkeypatch.delattr(napari.settings, "get_plugin_settings", raising=False)
    defaults = preferences.preferences()
    assert (defaults is not with_pages) == has_pages
    assert preferences.default_quality() == "balanced"
    assert preferences.compute_settings() == {"compute.device": "auto"}
    assert defaults.preview.rate > 0
