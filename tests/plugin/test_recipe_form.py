"""The form of a recipe in a real window: tasks, qualities and entries."""

import gc

import numpy as np
import pytest

from napari_dip import Recipe, list_presets
from napari_dip.plugin.widgets.recipe_form import HEADINGS


def test_the_form_starts_with_the_preset_and_describes_every_field(viewer, open_dock):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    assert dock.form.recipe().hard_data_consistency
    assert dock.form.entry("hard_data_consistency").value is True
    assert "[data units]" in dock.form.entry("noise.sigma").tooltip
    dock.form.entry("noise.sigma").value = "1e-20"
    assert dock.form.recipe().noise.sigma == 1e-20
    dock.form.entry("noise.sigma").value = ""
    assert dock.form.recipe().noise.sigma is None


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("Denoise", "denoise"),
        ("Inpaint", "inpaint"),
        ("Super-resolution", "super-resolution"),
        ("Deconvolve", "deconvolve"),
        ("Combine exposures", "coadd"),
        ("Restore with a guide", "guided"),
    ],
)
def test_each_dock_opens_on_its_task(viewer, name, preset):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
    assert dock.form.tasks.task.currentText() == Recipe.preset(preset).title
    assert recipe_of(dock) == Recipe.preset(preset)


@pytest.mark.parametrize("quality", ["fast", "balanced", "best"])
def test_a_recipe_is_shown_with_its_task_and_its_quality(viewer, quality):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    recipe = Recipe.preset("inpaint").with_quality(quality).with_settings({"seed": 7})
    dock.form.choose(recipe)
    tasks = dock.form.tasks
    assert (tasks.task.currentText(), tasks.quality.currentText()) == (recipe.title, quality)
    assert dock.form.recipe().seed == 7
    assert dock.form.recipe().hard_data_consistency


def test_the_form_of_every_task_returns_its_preset_and_keeps_the_seed(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    dock.form.entry("seed").value = 7
    task = dock.form.tasks.task
    for name in list_presets():
        task.setCurrentIndex(task.findData(name))
        recipe = recipe_of(dock)
        assert recipe == Recipe.preset(name).with_settings({"seed": recipe.seed})
    assert recipe.seed == 7


def test_settings_are_found_by_words_and_reset(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    form, steps, seed = dock.form, dock.form.entry("solver.max_steps"), dock.form.entry("seed")
    form.advanced_box.expand(animate=False)
    form.search.setText("number steps")
    assert not steps.native.isHidden()
    assert seed.native.isHidden()
    assert not form.entry("noise.sigma").native.isHidden()  # it is not among the advanced ones
    form.search.setText("")
    assert seed.native.isHidden()
    headings = {heading.text(): heading for heading in form.headings}
    headings["Computer"].click()
    assert not seed.native.isHidden()
    assert steps.native.isHidden()
    headings["Stopping"].click()
    label = form.advanced_layout.labelForField(steps.native)
    before = steps.value
    steps.value = 77
    assert label.font().underline()
    form.reset_button.click()
    assert steps.value == before
    assert not label.font().underline()


def test_every_advanced_setting_is_below_one_heading():
    listed = [name for names in HEADINGS.values() for name in names]
    assert sorted(listed) == sorted(set(Recipe.model_fields) - {"title", "description", "category"})


def test_the_title_of_a_dock_is_that_of_its_task(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    task = dock.form.tasks.task
    task.setCurrentIndex(task.findData("inpaint"))
    assert dock.parentWidget().titleBarWidget().title.text() == "Inpaint (napari-dip)"


def test_every_preset_is_below_the_heading_of_its_category(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    task, heading, found = dock.form.tasks.task, "", {}
    for row in range(task.count()):
        if task.itemData(row) is None:
            heading = task.itemText(row)
            assert not task.model().item(row).isEnabled()
        else:
            found[task.itemData(row)] = heading
    assert found == {name: Recipe.preset(name).category for name in list_presets()}


def test_tasks_are_changed_and_docks_closed_many_times(viewer, pixels, qtbot):
    # Deleting entries and making new ones crashed the process at the next garbage collection.
    viewer.add_image(pixels)
    for name in ("Denoise", "Inpaint", "Deconvolve", "Denoise"):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        entries = dock.form.entry("noise.kind"), dock.form.entry("seed")
        for row in range(24):
            dock.form.tasks.task.setCurrentIndex((7 * row) % dock.form.tasks.task.count())
            dock.form.tasks.quality.setCurrentIndex(row % 3)
        assert (dock.form.entry("noise.kind"), dock.form.entry("seed")) == entries
        viewer.window.remove_dock_widget(dock)
        del dock, entries
        qtbot.wait(20)
        gc.collect()


def test_another_quality_keeps_the_noise_settings(viewer, pixels):
    viewer.add_image(pixels)
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    dock.form.entry("noise.sigma").value = "12"
    dock.form.tasks.quality.setCurrentText("best")
    assert (dock.form.recipe().noise.sigma, dock.form.recipe().ensemble.size) == (12.0, 4)
    dock.form.entry("noise.sigma").value = "much"
    dock.form.tasks.quality.setCurrentText("balanced")
    assert "noise.sigma" in dock.status.text()
    assert recipe_of(dock) == Recipe.preset("denoise")


def recipe_of(dock):
    """Return the recipe of the dock, without its number of threads."""
    return dock.form.recipe().with_settings({"compute.num_threads": None})


def test_a_task_shows_its_settings_and_its_layers(viewer, open_dock, pixels, qtbot):
    dock = open_dock()
    viewer.add_image(pixels, name="a")
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["psf"])
    dock.form.tasks.task.setCurrentIndex(dock.form.tasks.task.findText("Deconvolve"))
    assert dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["psf"])
    assert dock.form.recipe().operator.kind == "blur"
    dock.form.entry("operator.fwhm").value = "4.5"
    assert dock.form.recipe().operator.fwhm == 4.5
    dock.form.tasks.task.setCurrentIndex(dock.form.tasks.task.findText("Restore with a guide"))
    assert dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["guide"])
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["psf"])
    assert dock.run_controls.run_button.isEnabled()


def test_shifts_are_written_as_lists(viewer, open_dock, pixels):
    dock = open_dock("Combine exposures")
    dock.form.entry("operator.shifts").value = "[[0, 0], [1.5, -2]]"
    assert dock.form.recipe().operator.shifts == ((0.0, 0.0), (1.5, -2.0))
    viewer.add_image(np.stack([pixels, pixels]), name="a", axis_labels=("t", "y", "x"))
    dock.form.entry("operator.shifts").value = "1.5; 2"
    assert not dock.run_controls.run_button.isEnabled()
    (sentence,) = dock.form.field_errors.sentences
    assert "is not a list of numbers" in sentence
