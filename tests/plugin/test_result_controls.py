"""What can be done with a run that has ended or is paused, in sessions and in the dock."""

import numpy as np
import pytest
from astropy.io import fits
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_dip.plugin.session.run import State


@pytest.fixture
def recipe(fast_recipe):
    changes = {"solver.max_steps": 100, "stopping.kind": "fixed", "refinement.patch_method": "none"}
    return fast_recipe.with_settings(changes)


@pytest.fixture
def layer(model, noisy):
    return model.add_image(noisy.astype(np.float32), name="a")


def names(model):
    return [layer.name for layer in model.layers]


def test_undo_removes_what_the_last_run_added_and_nothing_else(model, session, recipe, layer):
    before = names(model)
    session.run(recipe, layer)
    first = names(model)
    session.run(recipe, layer, keep_previous=True)
    other = model.add_image(layer.data, name="my own")
    session.undo()
    assert sorted(names(model)) == sorted([*first, "my own"])
    session.undo()
    assert sorted(names(model)) == sorted([*before, "my own"])
    session.undo()
    assert other in model.layers
    assert session.current_run is None


def test_a_result_replaces_the_last_one_of_its_image(model, session, recipe, layer, noisy):
    session.run(recipe, layer)
    first = model.layers["a [restored]"]
    session.run(recipe.replace(seed=1), layer)
    assert first not in model.layers
    assert names(model).count("a [restored]") == 1
    session.run(recipe, model.add_image(noisy, name="b"))
    assert {"a [restored]", "b [restored]"} <= {*names(model)}


def test_a_trial_is_replaced_but_replaces_no_result(model, session, recipe, layer, noisy):
    part = Image(noisy[:40, :40].astype(np.float32), name="a [part]")
    for once in (False, True):
        session.run(recipe, part, whole=layer)
        assert ("a [restored]" in names(model)) == once
        session.run(recipe, layer)
        assert "a [part] [restored]" not in names(model)
    assert names(model).count("a [restored]") == 1


def test_undo_leaves_a_layer_that_was_removed_already(model, session, recipe, layer):
    session.run(recipe, layer)
    model.layers.remove("a [restored]")
    session.undo()
    assert names(model) == ["a"]


def test_a_continued_run_equals_one_longer_run_and_keeps_the_first_result(model, session, recipe, layer):
    session.run(recipe, layer)
    first = model.layers["a [restored]"].data.copy()
    session.continue_run()
    assert session.current_run.result.provenance.steps == 200
    assert session.current_run.steps == [50, 100, 150, 200]
    np.testing.assert_array_equal(model.layers["a [restored]"].data, first)
    longer = model.layers["a [restored] [1]"].data.copy()
    session.undo()
    assert session.continue_blocked_by() != ""
    session.run(recipe.with_settings({"solver.max_steps": 200}), layer, keep_previous=True)
    np.testing.assert_array_equal(model.layers["a [restored] [1]"].data, longer)


def test_only_the_last_run_can_be_continued(model, session, recipe, layer):
    session.run(recipe, layer)
    first = session.current_run
    assert first.warm_start.fit is not None
    session.run(recipe, layer, keep_previous=True)
    assert (first.warm_start.fit, first.snapshots, first.observation) == (None, [], None)
    session.undo()
    assert session.current_run is first
    before = model.layers["a [restored]"].data.copy()
    session.select_image(50)  # there are no snapshots any more
    session.continue_run()
    np.testing.assert_array_equal(model.layers["a [restored]"].data, before)


def test_a_stack_and_an_ensemble_cannot_be_continued(model, session, recipe, layer, noisy):
    assert session.continue_blocked_by()
    session.run(recipe.with_settings({"ensemble.size": 2}), layer)
    assert "Only a single fit" in session.continue_blocked_by()
    session.run(recipe, model.add_image(np.stack([noisy, noisy]), name="two"))
    assert "Only a single fit" in session.continue_blocked_by()
    before = names(model)
    session.continue_run()
    assert names(model) == before


def test_another_step_becomes_the_result_with_its_own_residual(model, session, recipe, layer):
    session.run(recipe, layer)
    chosen = model.layers["a [restored]"].data.copy()
    session.select_image(50)
    restored, residual = model.layers["a [restored]"], model.layers["a [residual]"]
    result = restored.metadata["napari-dip"]["result"]
    np.testing.assert_array_equal(restored.data, model.layers["a [steps]"].data[0])
    np.testing.assert_allclose(result.residual, layer.data - restored.data, atol=1e-4)
    np.testing.assert_allclose(residual.data, result.residual / result.noise_std, atol=1e-4)
    assert result.provenance.selected_step == (50,)
    assert "step 50 was selected by hand" in result.summary
    session.select_image(None)
    np.testing.assert_array_equal(restored.data, chosen)
    assert restored.metadata["napari-dip"]["result"] is session.current_run.result


def test_a_selected_step_has_no_residual_where_a_blur_reaches_beyond_the_image(
    model, session, recipe, layer
):
    blurred = recipe.with_settings({"operator.kind": "blur", "operator.fwhm": 3.0})
    session.run(blurred, layer)
    before = model.layers["a [residual]"].data.copy()
    session.select_image(50)
    residual = model.layers["a [residual]"].data
    assert np.isnan(residual[0]).all()
    inside = np.isfinite(residual)
    assert inside.mean() > 0.5
    assert np.isfinite(before).all()
    assert np.nanstd(residual) < 10 * np.nanstd(before)


def test_the_original_is_shown_while_a_button_is_held(model, session, recipe, layer):
    session.run(recipe, layer)
    layer.visible = False
    restored = model.layers["a [restored]"]
    session.show_original(on=True)
    assert (layer.visible, restored.visible) == (True, False)
    session.show_original(on=False)
    assert (layer.visible, restored.visible) == (False, True)


def test_a_mask_painted_during_a_pause_is_used(model, session, script, recipe, layer):
    mask = model.add_labels(np.zeros(layer.data.shape, np.uint8), name="mask")
    steps = []

    def paint_once(iterate):
        steps.append(iterate.step)
        if iterate.step >= 50 and not mask.data.any():
            session.pause()
            mask.data[10:14, 20:25] = 1
            session.resume(mask)

    script.after = paint_once
    session.run(recipe, layer, mask=mask)
    assert any("changed mask" in sentence for sentence, _ in session.sentences)
    assert session.current_run.result.inpainted.sum() == 20
    assert session.current_run.result.steps == 100  # a complete run, from the learned weights
    assert min(np.diff(steps)) < 0


def test_a_mask_that_is_removed_during_a_pause_still_counts(model, session, script, recipe, layer):
    pixels = np.zeros(layer.data.shape, np.uint8)
    pixels[10:14, 20:25] = 1
    mask = model.add_labels(pixels, name="mask")

    def remove_once(iterate):
        if iterate.step >= 50 and mask in model.layers:
            session.pause()
            model.layers.remove(mask)
            session.resume(None)

    script.after = remove_once
    session.run(recipe, layer, mask=mask)
    assert any("as it was" in sentence for sentence, _ in session.sentences)
    assert session.current_run.result.inpainted.sum() == 20


def test_resuming_with_the_same_mask_changes_nothing(model, session, script, recipe, layer):
    session.run(recipe, layer)
    at_once = model.layers["a [restored]"].data.copy()
    session.undo()

    def hold(iterate):
        session.pause()
        session.resume()

    script.after = hold
    session.run(recipe, layer)
    np.testing.assert_array_equal(model.layers["a [restored]"].data, at_once)


@pytest.fixture
def done(viewer, quick_dock, qtbot, tmp_path, noisy):
    """A dock whose run of a FITS file has ended."""
    fits.writeto(tmp_path / "night.fits", noisy.astype(np.float32))
    viewer.open(tmp_path / "night.fits", plugin="napari-dip")
    dock = quick_dock("Denoise")
    dock.form.entry("solver.max_steps").value = 150
    dock.form.entry("refinement.patch_method").value = "none"
    dock.run_controls.run_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    return dock


def test_the_slider_selects_a_step_and_the_buttons_undo_and_save(
    done, viewer, qtbot, tmp_path, monkeypatch
):
    controls = done.result_controls
    assert not controls.isHidden()
    assert controls.step_label.text() == "selected step"
    controls.slider.setFocus()
    qtbot.keyClick(controls.slider, Qt.Key.Key_Left)
    qtbot.keyClick(controls.slider, Qt.Key.Key_Left)
    assert controls.step_label.text() == "step 100"
    assert "step 100 was selected by hand" in done.summary.details.text()
    assert done.plot._selected_line.value() == 100

    arguments = []

    def choose(parent, title, path, formats):
        arguments.extend([path, formats])
        return path, formats

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    qtbot.mouseClick(controls.save_button, Qt.MouseButton.LeftButton)
    assert arguments[0] == str(tmp_path / "night restored.fits")
    assert arguments[1].startswith("FITS")
    written = fits.getdata(tmp_path / "night restored.fits")
    np.testing.assert_array_equal(written, viewer.layers["night.fits [restored]"].data)

    qtbot.mouseClick(controls.undo_button, Qt.MouseButton.LeftButton)
    assert names(viewer) == ["night.fits"]
    assert controls.isHidden()


def test_the_strength_mixes_the_result_with_its_data(done, viewer, qtbot, noisy, tmp_path, monkeypatch):
    controls, restored = done.result_controls, viewer.layers["night.fits [restored]"]
    full, data = restored.data.copy(), noisy.astype(np.float32)
    assert controls.strength_label.text() == "100%"
    controls.strength_slider.setFocus()
    qtbot.keyClick(controls.strength_slider, Qt.Key.Key_PageDown)
    assert controls.strength_label.text() == "90%"
    np.testing.assert_allclose(restored.data, 0.9 * full + 0.1 * data, rtol=1e-5)
    assert "strength 0.9" in done.summary.details.text()
    qtbot.keyClick(controls.strength_slider, Qt.Key.Key_Home)
    np.testing.assert_array_equal(restored.data, data)
    qtbot.keyClick(controls.strength_slider, Qt.Key.Key_End)
    np.testing.assert_array_equal(restored.data, full)


def test_continue_resumes_the_run(done, viewer, qtbot):
    assert done.result_controls.continue_button.isEnabled()
    qtbot.mouseClick(done.result_controls.continue_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: done.session.state == State.IDLE, timeout=300_000)
    assert "of 300 in" in done.summary.details.text()
    assert "night.fits [restored] [1]" in names(viewer)


def test_a_run_adds_one_layer_and_boxes_add_the_others(done, viewer, qtbot):
    assert names(viewer) == ["night.fits", "night.fits [restored]"]
    boxes = done.result_controls.extra_boxes
    assert [name for name, box in boxes.items() if not box.isHidden()] == ["residual", "steps"]
    boxes["residual"].click()
    assert names(viewer)[-1] == "night.fits [residual]"
    assert not done.inputs.image.findText("night.fits [residual]") >= 0  # it is no image to restore
    boxes["residual"].click()
    assert names(viewer) == ["night.fits", "night.fits [restored]"]


def test_the_verdict_comes_first_and_the_rest_on_demand(done, qtbot):
    text = done.status.text()
    assert text[2:].startswith(("Good: ", "Check: ", "Failed: "))
    assert done.summary.residual.text() == f"{float(done.summary.residual.text()):.2f}"
    done.summary.copy_button.click()
    copied = QApplication.clipboard().text()
    assert copied.startswith(text)
    assert "fixed" in copied or "step" in copied


def test_only_buttons_that_can_be_pressed_are_visible(done, qtbot):
    buttons = done.run_controls
    assert not buttons.run_button.isHidden()
    assert buttons.discard_button.isHidden()
    done.form.entry("solver.max_steps").value = 100_000
    qtbot.mouseClick(buttons.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "at the latest" in done.status.text())
    assert "elapsed" in buttons.bar.text()
    assert "GB in use" in done.status.text()
    assert buttons.run_button.isHidden()
    assert done.result_controls.undo_button.isHidden()
    qtbot.mouseClick(buttons.pause_button, Qt.MouseButton.LeftButton)
    assert buttons.pause_button.text() == "Resume"
    assert done.inputs.mask.isEnabled()
    assert not done.inputs.image.isEnabled()
    qtbot.mouseClick(buttons.discard_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: done.session.state == State.IDLE)
    assert not buttons.run_button.isHidden()
