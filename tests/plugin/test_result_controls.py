"""What can be done with a run once it has ended, or is paused: on sessions, and in the dock."""

import numpy as np
import pytest
from astropy.io import fits
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_dip.plugin.session.run import State


@pytest.fixture
def recipe(quick):
    changes = {"solver.max_steps": 100, "stopping.kind": "fixed", "refinement.patch_method": "none"}
    return quick.override(changes)


@pytest.fixture
def layer(model, noisy):
    return model.add_image(noisy.astype(np.float32), name="a")


def names(model):
    return [layer.name for layer in model.layers]


def test_undo_takes_out_what_the_last_run_added_and_nothing_else(model, session, recipe, layer):
    before = names(model)
    session.run(recipe, layer)
    first = names(model)
    session.run(recipe, layer)
    other = model.add_image(layer.data, name="my own")
    session.undo()
    assert sorted(names(model)) == sorted([*first, "my own"])
    session.undo()
    assert sorted(names(model)) == sorted([*before, "my own"])
    session.undo()
    assert other in model.layers
    assert session.shown is None


def test_undo_leaves_a_layer_that_was_removed_already(model, session, recipe, layer):
    session.run(recipe, layer)
    model.layers.remove("a - restored")
    session.undo()
    assert names(model) == ["a"]


def test_going_on_is_one_longer_run_and_keeps_the_first_result(model, session, recipe, layer):
    session.run(recipe, layer)
    first = model.layers["a - restored"].data.copy()
    session.go_on()
    assert session.shown.result.provenance["steps"] == 200
    assert session.shown.steps == [50, 100, 150, 200]
    np.testing.assert_array_equal(model.layers["a - restored"].data, first)
    longer = model.layers["a - restored [1]"].data.copy()
    session.undo()
    assert session.why_not_on() != ""
    session.run(recipe.override({"solver.max_steps": 200}), layer)
    np.testing.assert_array_equal(model.layers["a - restored [1]"].data, longer)


def test_only_the_last_run_keeps_what_it_would_go_on_with(model, session, recipe, layer):
    session.run(recipe, layer)
    first = session.shown
    assert first.starts.fit is not None
    session.run(recipe, layer)
    assert (first.starts.fit, first.snapshots, first.observation) == (None, [], None)
    session.undo()
    assert session.shown is first
    before = model.layers["a - restored"].data.copy()
    session.pick(50)  # there is nothing to pick from any more
    session.go_on()
    np.testing.assert_array_equal(model.layers["a - restored"].data, before)


def test_a_stack_and_an_average_do_not_go_on(model, session, recipe, layer, noisy):
    assert session.why_not_on()
    session.run(recipe.override({"ensemble.size": 2}), layer)
    assert "Only one fit" in session.why_not_on()
    session.run(recipe, model.add_image(np.stack([noisy, noisy]), name="two"))
    assert "Only one fit" in session.why_not_on()
    before = names(model)
    session.go_on()
    assert names(model) == before


def test_another_iteration_becomes_the_result_with_its_own_residual(model, session, recipe, layer):
    session.run(recipe, layer)
    chosen = model.layers["a - restored"].data.copy()
    session.pick(50)
    restored, residual = model.layers["a - restored"], model.layers["a - residual in sigmas"]
    result = restored.metadata["napari-dip"]["result"]
    np.testing.assert_array_equal(restored.data, model.layers["a - iterations"].data[0])
    np.testing.assert_allclose(result.residual, layer.data - restored.data, atol=1e-4)
    np.testing.assert_allclose(residual.data, result.residual / result.noise, atol=1e-4)
    assert result.provenance["chosen"] == [50]
    assert "step 50 was picked by hand" in result.verdict
    session.pick(None)
    np.testing.assert_array_equal(restored.data, chosen)
    assert restored.metadata["napari-dip"]["result"] is session.shown.result


def test_a_picked_iteration_behind_a_blur_has_no_residual_where_it_hangs_on_the_unseen(
    model, session, recipe, layer
):
    blurred = recipe.override({"operator.kind": "blur", "operator.fwhm": 3.0})
    session.run(blurred, layer)
    whole = model.layers["a - residual in sigmas"].data.copy()
    session.pick(50)
    residual = model.layers["a - residual in sigmas"].data
    assert np.isnan(residual[0]).all()
    inside = np.isfinite(residual)
    assert inside.mean() > 0.5
    assert np.isfinite(whole).all()
    assert np.nanstd(residual) < 10 * np.nanstd(whole)


def test_the_original_is_seen_while_a_button_is_held(model, session, recipe, layer):
    session.run(recipe, layer)
    layer.visible = False
    restored = model.layers["a - restored"]
    session.show_original(on=True)
    assert (layer.visible, restored.visible) == (True, False)
    session.show_original(on=False)
    assert (layer.visible, restored.visible) == (False, True)


def test_holes_painted_while_it_is_paused_are_taken_in(model, session, script, recipe, layer):
    holes = model.add_labels(np.zeros(layer.data.shape, np.uint8), name="holes")
    steps = []

    def paint_once(iterate):
        steps.append(iterate.step)
        if iterate.step >= 50 and len(set(steps)) == len(steps) and not holes.data.any():
            session.pause()
            holes.data[10:14, 20:25] = 1
            session.resume(holes)

    script.after = paint_once
    session.run(recipe, layer, holes=holes)
    assert any("as they are painted now" in sentence for sentence, _ in session.sentences)
    assert session.shown.result.filled.sum() == 20
    assert session.shown.result.steps == 100  # a whole run, from what was learnt
    assert min(np.diff(steps)) < 0


def test_resuming_without_new_holes_changes_nothing(model, session, script, recipe, layer):
    session.run(recipe, layer)
    at_once = model.layers["a - restored"].data.copy()
    session.undo()

    def hold(iterate):
        session.pause()
        session.resume()

    script.after = hold
    session.run(recipe, layer)
    np.testing.assert_array_equal(model.layers["a - restored"].data, at_once)


@pytest.fixture
def done(viewer, quick_dock, qtbot, tmp_path, noisy):
    """A dock whose run of a FITS file has ended."""
    fits.writeto(tmp_path / "night.fits", noisy.astype(np.float32))
    viewer.open(tmp_path / "night.fits", plugin="napari-dip")
    dock = quick_dock("Denoise")
    dock.form.entry("solver.max_steps").value = 150
    dock.form.entry("refinement.patch_method").value = "off"
    dock.panel.run_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=60_000)
    return dock


def test_the_slider_picks_and_the_buttons_undo_and_save(done, viewer, qtbot, tmp_path, monkeypatch):
    after = done.after
    assert not after.isHidden()
    assert after.step.text() == "as chosen"
    after.slider.setFocus()
    qtbot.keyClick(after.slider, Qt.Key.Key_Left)
    qtbot.keyClick(after.slider, Qt.Key.Key_Left)
    assert after.step.text() == "step 100"
    assert "step 100 was picked by hand" in done.status.text()
    assert done.plot._chosen.value() == 100

    asked = []

    def choose(parent, title, path, formats):
        asked.extend([path, formats])
        return path, formats

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    qtbot.mouseClick(after.save_button, Qt.MouseButton.LeftButton)
    assert asked[0] == str(tmp_path / "night restored.fits")
    assert asked[1].startswith("FITS")
    written = fits.getdata(tmp_path / "night restored.fits")
    np.testing.assert_array_equal(written, viewer.layers["night.fits - restored"].data)

    qtbot.mouseClick(after.undo_button, Qt.MouseButton.LeftButton)
    assert names(viewer) == ["night.fits"]
    assert after.isHidden()


def test_continue_takes_up_the_run(done, viewer, qtbot):
    assert done.after.go_on_button.isEnabled()
    qtbot.mouseClick(done.after.go_on_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: done.session.state == State.IDLE, timeout=60_000)
    assert "of 300 in" in done.status.text()
    assert "night.fits - restored [1]" in names(viewer)


def test_only_the_buttons_that_can_be_pressed_are_there(done, qtbot):
    panel = done.panel
    assert not panel.run_button.isHidden()
    assert panel.cancel_button.isHidden()
    done.form.entry("solver.max_steps").value = 100_000
    qtbot.mouseClick(panel.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "left" in done.status.text() or "at the latest" in done.status.text())
    assert "GB in use" in done.status.text()
    assert panel.run_button.isHidden()
    assert done.after.undo_button.isHidden()
    qtbot.mouseClick(panel.pause_button, Qt.MouseButton.LeftButton)
    assert panel.pause_button.text() == "Resume"
    assert done.inputs.holes.isEnabled()
    assert not done.inputs.image.isEnabled()
    qtbot.mouseClick(panel.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: done.session.state == State.IDLE)
    assert not panel.run_button.isHidden()
