"""The docks in a real window, driven as a person would."""

import gc
import time
import weakref

import numpy as np
import pytest
from astropy.io import fits
from qtpy.QtCore import Qt

from napari_dip import Recipe
from napari_dip.plugin.session.run import State

QUICK = {"channels": 8, "depth": 3}


@pytest.fixture
def open_dock(viewer, qtbot):
    def open_dock(name="Denoise"):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        for setting, value in QUICK.items():
            dock.form.entry(f"network.{setting}").value = value
        dock.form.entry("stopping.kind").value = "fixed"
        dock.form.entry("solver.max_steps").value = 1_000_000
        return dock

    return open_dock


@pytest.fixture
def wait(qtbot):
    def wait(condition, milliseconds=20_000):
        qtbot.waitUntil(condition, timeout=milliseconds)

    return wait


@pytest.fixture
def picture(noisy):
    return np.tile(noisy, (2, 2)).astype(np.float32)


def click(button, qtbot):
    from qtpy.QtCore import Qt

    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_run_preview_pause_resume_finish_then_cancel(viewer, open_dock, picture, qtbot, wait):
    dock = open_dock()
    assert not dock.panel.run_button.isEnabled()
    assert "Open an image" in dock.status.text()
    layer = viewer.add_image(picture, name="a", scale=(2, 2))
    previews, steps = [], []
    dock.session.advanced.connect(lambda i: i.image is not None and previews.append(i.step))
    dock.session.advanced.connect(lambda i: steps.append(i.step))

    click(dock.panel.run_button, qtbot)
    wait(lambda: len(previews) >= 2)
    assert "a - restoring" in names(viewer)
    assert not dock.form.level.isEnabled()

    click(dock.panel.pause_button, qtbot)
    qtbot.wait(300)
    stands = steps[-1]
    qtbot.wait(300)
    assert steps[-1] == stands
    assert dock.panel.pause_button.text() == "Resume"
    click(dock.panel.pause_button, qtbot)
    wait(lambda: steps[-1] > stands)

    click(dock.panel.finish_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    assert "finished by hand" in dock.status.text()
    assert "a - restored" in names(viewer)
    np.testing.assert_array_equal(layer.data, picture)

    before = names(viewer)
    dock.inputs.image.choose(layer)
    click(dock.panel.run_button, qtbot)
    wait(lambda: dock.session.state == State.RUNNING and len(steps) > 5)
    begun = time.monotonic()
    click(dock.panel.cancel_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    assert time.monotonic() - begun < 5
    assert names(viewer) == before
    assert dock.panel.run_button.isEnabled()


def test_the_source_may_be_deleted_or_renamed_while_it_runs(viewer, open_dock, picture, qtbot, wait):
    dock = open_dock()
    first, second = viewer.add_image(picture, name="a"), viewer.add_image(picture, name="b")
    dock.inputs.image.choose(first)
    click(dock.panel.run_button, qtbot)
    wait(lambda: "a - restoring" in names(viewer))
    first.name = "renamed"
    assert dock.inputs.image.layer() == first
    second.name = "other"
    assert dock.inputs.image.layer() == first
    viewer.layers.remove(first)
    click(dock.panel.finish_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    assert "a - restored" in names(viewer)


def test_nan_are_holes_by_themselves(viewer, open_dock, picture, qtbot, wait):
    dock = open_dock("Inpaint")
    picture[20:24, 30:34] = np.nan
    viewer.add_image(picture, name="a", contrast_limits=(50, 150))
    dock.form.entry("solver.max_steps").value = 30
    click(dock.panel.run_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    restored = viewer.layers["a - restored"].data
    known = np.isfinite(picture)
    np.testing.assert_array_equal(restored[known], picture[known])
    assert np.isfinite(restored).all()
    assert "16 pixels filled" in dock.status.text()


def test_a_file_brings_its_holes_and_its_noise_along(viewer, open_dock, tmp_path):
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
        assert dock.inputs.holes.layer().name == "a.fits SCI - holes"
        assert dock.inputs.sigma.layer().name == "a.fits SCI - noise"
    early.inputs.holes.choose(None)
    viewer.add_image(np.eye(40), name="b")
    assert early.inputs.holes.layer() is None
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


def test_a_wrong_entry_is_told_before_anything_runs(viewer, open_dock, picture, qtbot):
    dock = open_dock()
    viewer.add_image(picture, name="a")
    dock.form.entry("noise.sigma").value = "much"
    click(dock.panel.run_button, qtbot)
    assert "noise.gaussian.sigma" in dock.status.text() or "noise.sigma" in dock.status.text()
    assert dock.session.state == State.IDLE


@pytest.fixture
def running(viewer, open_dock, picture, qtbot, wait):
    """A dock whose run has shown its first preview, and the run's controls."""
    dock = open_dock()
    viewer.add_image(picture, name="a")
    click(dock.panel.run_button, qtbot)
    wait(lambda: "a - restoring" in names(viewer))
    controls = dock.session._run.controls
    return dock, controls


def test_the_window_may_be_closed_while_it_runs(running):
    dock, controls = running
    # The fixture closes the window now; the other fixture finds out whether the thread ends.
    dock.destroyed.connect(lambda: None)
    del dock
    assert not controls.cancel.is_set()


def test_a_closed_dock_takes_its_run_along(viewer, running, wait):
    dock, controls = running
    viewer.window.remove_dock_widget(dock)
    wait(controls.cancel.is_set)


def test_a_cancelled_run_gives_its_memory_back(viewer, open_dock, picture, qtbot, wait, monkeypatch):
    from napari_dip.prior.generator import Prior

    networks = []
    original = Prior.__init__

    def noted(self, *args, **kwargs):
        original(self, *args, **kwargs)
        networks.append(weakref.ref(self.network))

    monkeypatch.setattr(Prior, "__init__", noted)
    dock = open_dock()
    viewer.add_image(picture, name="a")
    click(dock.panel.run_button, qtbot)
    wait(lambda: bool(networks) and dock.session.state == State.RUNNING)
    wait(lambda: "a - restoring" in names(viewer))
    click(dock.panel.cancel_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    gc.collect()
    wait(lambda: networks[0]() is None)


def test_the_form_begins_with_the_preset_and_says_what_every_field_means(viewer, open_dock):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    assert dock.form.recipe().keep_observed
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
        ("Combine exposures", "combine"),
        ("Restore with a guide", "guided"),
    ],
)
def test_each_dock_opens_on_its_task(viewer, name, preset):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
    assert dock.form.task.currentText() == Recipe.preset(preset).title
    assert as_told(dock) == Recipe.preset(preset)


def test_every_task_s_form_gives_back_its_preset_and_keeps_what_is_the_person_s(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    dock.form.entry("seed").value = 7
    for row in range(dock.form.task.count()):
        dock.form.task.setCurrentIndex(row)
        told = as_told(dock)
        assert told == Recipe.preset(dock.form.task.currentData()).with_settings({"seed": told.seed})
    assert told.seed == 7


def test_tasks_are_changed_and_docks_closed_many_times(viewer, picture, qtbot):
    # Entries that were deleted and made again brought the process down, at the next collection.
    viewer.add_image(picture)
    for name in ("Denoise", "Inpaint", "Deconvolve", "Denoise"):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        entries = dock.form.entry("noise.kind"), dock.form.entry("seed")
        for row in range(24):
            dock.form.task.setCurrentIndex((7 * row) % dock.form.task.count())
            dock.form.level.setCurrentIndex(row % 3)
        assert (dock.form.entry("noise.kind"), dock.form.entry("seed")) == entries
        viewer.window.remove_dock_widget(dock)
        del dock, entries
        qtbot.wait(20)
        gc.collect()


def test_another_quality_keeps_what_was_said_of_the_image(viewer, picture):
    viewer.add_image(picture)
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    dock.form.entry("noise.sigma").value = "12"
    dock.form.level.setCurrentText("best")
    assert (dock.form.recipe().noise.sigma, dock.form.recipe().ensemble.members) == (12.0, 4)
    dock.form.entry("noise.sigma").value = "much"
    dock.form.level.setCurrentText("balanced")
    assert "noise.sigma" in dock.status.text()
    assert as_told(dock) == Recipe.preset("denoise")


def as_told(dock):
    """The dock's recipe, but for the core that it leaves to the window."""
    return dock.form.recipe().override({"compute.num_threads": None})


def test_choosing_a_task_brings_its_settings_and_asks_for_its_layers(viewer, open_dock, picture, qtbot):
    dock = open_dock()
    viewer.add_image(picture, name="a")
    assert not dock.form.rows.isRowVisible(dock.inputs.extras["psf"])
    dock.form.task.setCurrentIndex(dock.form.task.findText("Deconvolve"))
    assert dock.form.rows.isRowVisible(dock.inputs.extras["psf"])
    assert dock.form.recipe().operator.kind == "blur"
    dock.form.entry("operator.fwhm").value = "4.5"
    assert dock.form.recipe().operator.fwhm == 4.5
    dock.form.task.setCurrentIndex(dock.form.task.findText("Restore with a guide"))
    assert dock.form.rows.isRowVisible(dock.inputs.extras["guide"])
    assert not dock.form.rows.isRowVisible(dock.inputs.extras["psf"])
    assert dock.panel.run_button.isEnabled()


def test_combining_asks_for_more_than_one_exposure(viewer, open_dock, picture, qtbot, wait):
    dock = open_dock("Combine exposures")
    first = viewer.add_image(picture, name="a")
    second = viewer.add_image(np.roll(picture, 3, 0), name="b")
    viewer.layers.selection = {first}
    dock.inputs.image.choose(first)
    click(dock.panel.run_button, qtbot)
    assert "is one exposure" in dock.status.text()
    viewer.layers.selection = {first, second}
    dock.form.entry("solver.max_steps").value = 10
    click(dock.panel.run_button, qtbot)
    wait(lambda: dock.session.state == State.IDLE)
    assert viewer.layers["a - restored"].data.shape == picture.shape
    assert viewer.layers["a - residual in sigmas"].data.shape == (2, *picture.shape)


def test_shifts_are_written_as_lists(viewer, open_dock, picture, qtbot):
    dock = open_dock("Combine exposures")
    dock.form.entry("operator.shifts").value = "[[0, 0], [1.5, -2]]"
    assert dock.form.recipe().operator.shifts == ((0.0, 0.0), (1.5, -2.0))
    viewer.add_image(np.stack([picture, picture]), name="a", axis_labels=("t", "y", "x"))
    dock.form.entry("operator.shifts").value = "1.5; 2"
    click(dock.panel.run_button, qtbot)
    assert "is no list of numbers" in dock.status.text()


def test_flags_are_ticked_to_be_holes_and_strokes_stay(viewer, tmp_path):
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
    holes = viewer.layers["hst.fits SCI - holes"]
    assert dock.form.rows.isRowVisible(dock.inputs.flags)
    assert [dock.inputs.flags.item(row).text().split(" (")[1] for row in range(2)] == [
        "4 pixels)",
        "8 pixels)",
    ]
    holes.data[20, 20] = 1  # a stroke
    dock.inputs.flags.item(0).setCheckState(Qt.CheckState.Unchecked)
    expected = quality & 4096 != 0
    expected[20, 20] = True
    np.testing.assert_array_equal(holes.data != 0, expected)
    dock.inputs.flags.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert holes.data.sum() == 1
    dock.inputs.flags.item(0).setCheckState(Qt.CheckState.Checked)
    assert holes.data.sum() == 5
    viewer.layers.remove(holes)
    dock.inputs.flags.item(1).setCheckState(Qt.CheckState.Checked)
    assert dock.inputs.holes.layer().data.sum() == 8
    plain = viewer.add_image(rng.normal(size=(40, 50)))
    dock.inputs.image.choose(plain)
    assert not dock.form.rows.isRowVisible(dock.inputs.flags)
