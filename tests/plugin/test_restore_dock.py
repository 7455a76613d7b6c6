"""The docks in a real window, used as a user would."""

import gc
import weakref

import numpy as np
import pytest
from astropy.io import fits
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_dip.plugin.session.run import State


@pytest.fixture
def wait(qtbot):
    def wait(condition):
        qtbot.waitUntil(condition, timeout=300_000)

    return wait


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_a_double_click_on_run_presses_no_other_button(viewer, open_dock, pixels, qtbot, wait, click):
    dock = open_dock()
    viewer.add_image(pixels)
    click(dock.run_controls.run_button)
    wait(lambda: dock.session.state == State.RUNNING)
    center = QPointF(5, 5)
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    kinds = {QEvent.Type.MouseButtonDblClick: left, QEvent.Type.MouseButtonRelease: none}
    for button in dock.run_controls.tab_order[1:]:  # the second click falls on what is there now
        for kind, held in kinds.items():
            modifiers = Qt.KeyboardModifier.NoModifier
            event = QMouseEvent(kind, center, button.mapToGlobal(center), left, held, modifiers)
            QApplication.sendEvent(button, event)
    assert dock.session.state == State.RUNNING
    click(dock.run_controls.discard_button)
    wait(lambda: dock.session.state == State.IDLE)


def test_a_run_that_cannot_start_says_why(viewer, open_dock, pixels, monkeypatch):
    dock = open_dock()
    viewer.add_image(pixels)

    def fail(*_, **__):
        raise RuntimeError("the store is gone")

    monkeypatch.setattr(dock.session, "run", fail)
    dock.run_controls.run_button.click()
    assert "unexpected error (RuntimeError: the store is gone)" in dock.status.text()
    assert dock.run_controls.run_button.isEnabled()


def test_run_preview_pause_resume_stop_then_discard(viewer, open_dock, pixels, qtbot, wait, click):
    dock = open_dock()
    assert not dock.run_controls.run_button.isEnabled()
    assert "Open an image" in dock.status.text()
    layer = viewer.add_image(pixels, name="a", scale=(2, 2))
    previews, steps = [], []
    dock.session.progressed.connect(lambda i: i.image is not None and previews.append(i.step))
    dock.session.progressed.connect(lambda i: steps.append(i.step))

    click(dock.run_controls.run_button)
    wait(lambda: len(previews) >= 2)
    assert "a [restoring]" in names(viewer)
    assert not dock.form.tasks.quality.isEnabled()

    click(dock.run_controls.pause_button)
    qtbot.wait(300)
    paused_at = steps[-1]
    qtbot.wait(300)
    assert steps[-1] == paused_at
    assert dock.run_controls.pause_button.text() == "Resume"
    click(dock.run_controls.pause_button)
    wait(lambda: steps[-1] > paused_at)

    click(dock.run_controls.stop_button)
    wait(lambda: dock.session.state == State.IDLE)
    assert "stopped by hand" in dock.summary.details.text()
    assert "a [restored]" in names(viewer)
    np.testing.assert_array_equal(layer.data, pixels)

    before = names(viewer)
    dock.inputs.image.choose(layer)
    click(dock.run_controls.run_button)
    wait(lambda: dock.session.state == State.RUNNING and len(steps) > 5)
    click(dock.run_controls.discard_button)
    wait(lambda: dock.session.state == State.IDLE)
    assert names(viewer) == before
    assert dock.run_controls.run_button.isEnabled()


def test_the_source_may_be_deleted_or_renamed_while_it_runs(viewer, open_dock, pixels, click, wait):
    dock = open_dock()
    first, second = viewer.add_image(pixels, name="a"), viewer.add_image(pixels, name="b")
    dock.inputs.image.choose(first)
    click(dock.run_controls.run_button)
    wait(lambda: "a [restoring]" in names(viewer))
    first.name = "renamed"
    assert dock.inputs.image.layer() == first
    second.name = "other"
    assert dock.inputs.image.layer() == first
    viewer.layers.remove(first)
    click(dock.run_controls.stop_button)
    wait(lambda: dock.session.state == State.IDLE)
    assert "a [restored]" in names(viewer)


def test_nan_pixels_are_inpainted(viewer, open_dock, pixels, click, wait):
    dock = open_dock("Inpaint")
    pixels[20:24, 30:34] = np.nan
    viewer.add_image(pixels, name="a", contrast_limits=(50, 150))
    dock.form.entry("solver.max_steps").value = 30
    click(dock.run_controls.run_button)
    wait(lambda: dock.session.state == State.IDLE)
    restored = viewer.layers["a [restored]"].data
    known = np.isfinite(pixels)
    np.testing.assert_array_equal(restored[known], pixels[known])
    assert np.isfinite(restored).all()
    assert "16 pixels inpainted" in dock.summary.details.text()


def test_the_mask_and_noise_of_a_file_are_selected(viewer, open_dock, tmp_path):
    from astropy.io import fits

    science = fits.ImageHDU(np.random.default_rng(0).normal(size=(40, 40)).astype("f4"), name="SCI")
    noise = fits.ImageHDU(np.ones((40, 40), "f4"), name="ERR")
    flags = fits.ImageHDU(np.eye(40, dtype=np.uint8), name="DQ")
    fits.HDUList([fits.PrimaryHDU(), science, noise, flags]).writeto(tmp_path / "a.fits")
    early = open_dock("Denoise")
    viewer.open(tmp_path / "a.fits", plugin="napari-dip")
    late = open_dock("Inpaint")
    for dock in (early, late):
        assert dock.inputs.image.layer().name == "a.fits SCI"
        assert dock.inputs.mask.layer().name == "a.fits SCI - mask"
        assert dock.inputs.sigma.layer().name == "a.fits SCI - noise"
    early.inputs.mask.choose(None)
    viewer.add_image(np.eye(40), name="b")
    assert early.inputs.mask.layer() is None
    early.inputs.image.choose(viewer.layers["b"])
    assert early.inputs.sigma.layer() is None


def test_the_wheel_scrolls_the_dock_and_changes_nothing(viewer, open_dock):
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    dock = open_dock()
    seed = dock.form.entry("seed")
    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, 120), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(seed.native, event)
    assert seed.value == 0


def test_a_wrong_entry_is_reported_before_a_run(viewer, open_dock, pixels, click):
    dock = open_dock()
    viewer.add_image(pixels, name="a")
    dock.form.entry("noise.sigma").value = "much"
    assert not dock.run_controls.run_button.isEnabled()
    assert "remark" in dock.run_controls.run_button.toolTip()
    (sentence,) = dock.form.field_errors.sentences
    assert "much" in sentence
    dock.form.entry("noise.sigma").value = "5"
    assert dock.run_controls.run_button.isEnabled()


@pytest.fixture
def running(viewer, open_dock, pixels, click, wait):
    """A dock whose run has shown its first preview, and the controls of the run."""
    dock = open_dock()
    viewer.add_image(pixels, name="a")
    click(dock.run_controls.run_button)
    wait(lambda: "a [restoring]" in names(viewer))
    controls = dock.session._run.controls
    return dock, controls


def test_the_window_may_be_closed_while_it_runs(running):
    dock, controls = running
    # One fixture closes the window now; another one checks that the thread ends.
    dock.destroyed.connect(lambda: None)
    del dock
    assert not controls.cancel.is_set()


def test_the_run_of_a_closed_dock_goes_on_and_the_next_dock_shows_it(
    viewer, running, open_dock, wait, click
):
    dock, controls = running
    session = dock.session
    viewer.window.remove_dock_widget(dock)
    del dock
    again = open_dock()
    assert again.session is session
    assert session.state == State.RUNNING
    assert not controls.cancel.is_set()
    click(again.run_controls.stop_button)
    wait(lambda: session.state == State.IDLE)
    assert "a [restored]" in names(viewer)
    viewer.window.remove_dock_widget(again)
    last = open_dock()
    assert last.status.text().split()[1] in ("Good:", "Check:", "Failed:")
    click(last.result_controls.undo_button)
    assert "a [restored]" not in names(viewer)


def test_a_run_that_ends_after_its_dock_is_closed_says_how(viewer, running, wait, monkeypatch):
    from napari_dip.plugin.session import open_sessions

    told = []
    monkeypatch.setattr(open_sessions, "show_info", told.append)
    dock, _ = running
    viewer.window.remove_dock_widget(dock)
    session = dock.session
    session.stop()
    wait(lambda: session.state == State.IDLE)
    assert "goes on" in told[0]
    assert told[1].split(":")[0] in ("Good", "Check", "Failed")


def test_a_mask_is_found_again_by_the_next_dock(viewer, open_dock, pixels):
    dock = open_dock()
    image = viewer.add_image(pixels, name="a")
    viewer.add_image(pixels, name="b")
    dock.inputs.image.choose(image)
    dock.inputs.mask_button.menu().paint()
    mask = dock.inputs.mask.layer()
    viewer.window.remove_dock_widget(dock)
    again = open_dock()
    again.inputs.image.choose(image)
    assert again.inputs.mask.layer() is mask
    again.inputs.image.choose(viewer.layers["b"])
    assert again.inputs.mask.layer() is None


def test_a_discarded_run_frees_its_memory(viewer, open_dock, pixels, click, wait, monkeypatch):
    from napari_dip.prior.generator import Prior

    networks = []
    original = Prior.__init__

    def spy(self, *args, **kwargs):
        original(self, *args, **kwargs)
        networks.append(weakref.ref(self.network))

    monkeypatch.setattr(Prior, "__init__", spy)
    dock = open_dock()
    viewer.add_image(pixels, name="a")
    click(dock.run_controls.run_button)
    wait(lambda: bool(networks) and dock.session.state == State.RUNNING)
    wait(lambda: "a [restoring]" in names(viewer))
    click(dock.run_controls.discard_button)
    wait(lambda: dock.session.state == State.IDLE)
    gc.collect()
    wait(lambda: networks[0]() is None)


def test_combining_asks_for_more_than_one_exposure(viewer, open_dock, pixels, click, wait):
    dock = open_dock("Combine exposures")
    first = viewer.add_image(pixels, name="a")
    second = viewer.add_image(np.roll(pixels, 3, 0), name="b")
    viewer.layers.selection = {first}
    dock.inputs.image.choose(first)
    assert not dock.run_controls.run_button.isEnabled()
    (sentence,) = dock.form.field_errors.sentences
    assert "is one exposure" in sentence
    viewer.layers.selection = {first, second}
    assert dock.form.field_errors.sentences == []
    dock.form.entry("solver.max_steps").value = 10
    click(dock.run_controls.run_button)
    wait(lambda: dock.session.state == State.IDLE)
    assert viewer.layers["a [restored]"].data.shape == pixels.shape
    dock.result_controls.extra_boxes["residual"].click()
    assert viewer.layers["a [residual]"].data.shape == (2, *pixels.shape)


def test_checked_flags_are_added_to_the_mask_and_strokes_stay(viewer, tmp_path):
    rng = np.random.default_rng(0)
    quality = np.zeros((40, 50), np.int16)
    quality[5, 5:9], quality[9, 5:12], quality[5, 8] = 16, 4096, 16 + 4096
    planes = [
        fits.ImageHDU(rng.normal(100, 5, (40, 50)).astype(np.float32), name="SCI"),
        fits.ImageHDU(quality, name="DQ"),
    ]
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"}))
    fits.HDUList([primary, *planes]).writeto(tmp_path / "hst.fits")
    viewer.open(tmp_path / "hst.fits", plugin="napari-dip")
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    mask = viewer.layers["hst.fits SCI - mask"]
    assert dock.form.basic_layout.isRowVisible(dock.inputs.bad_flags)
    assert [dock.inputs.bad_flags.item(row).text().split(" (")[1] for row in range(2)] == [
        "4 pixels)",
        "8 pixels)",
    ]
    mask.data[20, 20] = 1  # a stroke
    dock.inputs.bad_flags.item(0).setCheckState(Qt.CheckState.Unchecked)
    expected = quality & 4096 != 0
    expected[20, 20] = True
    np.testing.assert_array_equal(mask.data != 0, expected)
    dock.inputs.bad_flags.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert mask.data.sum() == 1
    dock.inputs.bad_flags.item(0).setCheckState(Qt.CheckState.Checked)
    assert mask.data.sum() == 5
    viewer.layers.remove(mask)
    dock.inputs.bad_flags.item(1).setCheckState(Qt.CheckState.Checked)
    assert dock.inputs.mask.layer().data.sum() == 8
    plain = viewer.add_image(rng.normal(size=(40, 50)))
    dock.inputs.image.choose(plain)
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.bad_flags)


def test_without_an_image_the_dock_opens_one(viewer, open_dock, click, tmp_path, monkeypatch):
    dock = open_dock()
    assert not dock.empty_state.isHidden()
    noisy = np.random.default_rng(0).normal(100, 5, (64, 64)).astype(np.float32)
    fits.writeto(tmp_path / "a.fits", noisy)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "a.fits"), ""))
    click(dock.empty_state.open_button)
    assert names(viewer) == ["a.fits"]
    assert dock.empty_state.isHidden()
    viewer.layers.clear()
    assert not dock.empty_state.isHidden()
    click(dock.empty_state.sample_button)
    assert dock.inputs.layer.name == "star field"


def test_a_trial_restores_the_middle_of_what_is_visible(viewer, open_dock, click, wait):
    dock = open_dock()
    noisy = np.random.default_rng(0).normal(100, 5, (200, 220)).astype(np.float32)
    layer = viewer.add_image(noisy, name="a", scale=(2, 2))
    labels = np.zeros(noisy.shape, np.uint8)
    labels[98:102, 100:120] = 1
    dock.inputs.mask.choose(viewer.add_labels(labels, name="holes", scale=(2, 2)))
    dock.inputs.image.choose(layer)
    click(dock.run_controls.try_button)
    wait(lambda: dock.session.state == State.IDLE)
    assert names(viewer) == ["a", "holes", "a [part] [restored]"]
    restored = viewer.layers["a [part] [restored]"]
    assert restored.data.shape == (160, 160)
    corner = restored.data_to_world((0, 0))
    np.testing.assert_allclose(corner, layer.data_to_world((20, 30)))
    result = restored.metadata["napari-dip"]["result"]
    np.testing.assert_array_equal(result.inpainted, labels[20:180, 30:190] > 0)
    np.testing.assert_array_equal(layer.data, noisy)


def test_where_nothing_is_missing_nothing_is_filled(viewer, open_dock, pixels, wait):
    dock = open_dock("Inpaint")
    layer = viewer.add_image(pixels, name="a")
    wait(lambda: any("no pixel is missing" in text for text in dock.form.field_errors.sentences))
    assert not dock.run_controls.run_button.isEnabled()
    assert "no pixel is missing" in dock.run_controls.run_button.toolTip()
    labels = np.zeros(pixels.shape, np.uint8)
    labels[20:24, 30:34] = 1
    dock.inputs.mask.choose(viewer.add_labels(labels))
    wait(lambda: dock.form.field_errors.sentences == [])  # and the remark goes
    assert layer in viewer.layers
