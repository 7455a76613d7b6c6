"""What the dock shows before a run: noise, cost, and errors next to the entry that they concern."""

import numpy as np
import pytest
import qtpy.compat
from qtpy.QtCore import QCoreApplication, QEvent, QThreadPool
from qtpy.QtWidgets import QLabel

from napari_dip.plugin.session.run import State


@pytest.fixture
def dock(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    return dock


@pytest.fixture
def wait_for_forecast(dock, qtbot):
    """Calls a function, and waits until the forecast is ready."""

    def wait_for_forecast(change):
        with qtbot.waitSignal(dock.forecast.ready, timeout=300_000):
            change()

    return wait_for_forecast


def test_noise_and_cost_follow_the_image(viewer, dock, wait_for_forecast):
    rng = np.random.default_rng(0)
    quiet, loud = (rng.normal(100, sigma, (64, 80)) for sigma in (3, 12))
    wait_for_forecast(lambda: viewer.add_image(quiet, name="quiet"))
    sigma = dock.form.entry("noise.sigma").native
    assert 2.7 < float(sigma.placeholderText().split(" (est")[0]) < 3.3
    assert dock.form.cost.text().startswith("about")
    assert "on the CPU" in dock.form.cost.text() or "GPU" in dock.form.cost.text()
    second = viewer.add_image(loud, name="loud")
    wait_for_forecast(lambda: dock.inputs.image.choose(second))
    assert 11 < float(sigma.placeholderText().split(" (est")[0]) < 13
    wait_for_forecast(lambda: setattr(dock.form.entry("noise.sigma"), "value", "12"))
    assert dock.form.noise.text() == "12: given."


def test_a_missing_gain_is_asked_for_below_its_entry(viewer, dock, wait_for_forecast):
    wait_for_forecast(
        lambda: viewer.add_image(np.random.default_rng(0).poisson(20, (48, 48)).astype(float))
    )
    wait_for_forecast(lambda: setattr(dock.form.entry("noise.kind"), "value", "poisson"))
    (sentence,) = dock.form.field_errors.sentences
    assert "needs the gain" in sentence
    wait_for_forecast(lambda: setattr(dock.form.entry("noise.gain"), "value", "1"))
    assert dock.form.field_errors.sentences == []
    assert "gain 1" in dock.form.noise.text()


def test_layers_that_do_not_match_are_reported_below_them(viewer, dock, wait_for_forecast):
    wait_for_forecast(
        lambda: viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)), name="a")
    )
    wait_for_forecast(
        lambda: (
            dock.inputs.refresh() or dock.inputs.mask.choose(viewer.add_labels(np.zeros((9, 9), int)))
        )
    )
    (sentence,) = dock.form.field_errors.sentences
    (label,) = [label for label in dock.findChildren(QLabel) if label.text() == sentence]
    row, place = (
        dock.form.basic_layout.getWidgetPosition(w)[0] for w in (label, dock.inputs.mask.parentWidget())
    )
    assert row == place + 1
    assert "(9, 9)" in sentence
    wait_for_forecast(lambda: dock.inputs.mask.choose(None))
    assert dock.form.field_errors.sentences == []


def test_an_entry_out_of_bounds_is_reported_below_it_at_once(viewer, dock):
    dock.form.entry("noise.sigma").value = "much"
    (sentence,) = dock.form.field_errors.sentences
    assert "much" in sentence
    dock.form.entry("noise.sigma").value = "2"
    assert dock.form.field_errors.sentences == []


def test_every_frame_of_a_series_is_included_in_the_cost(viewer, dock, wait_for_forecast, qtbot):
    series = np.random.default_rng(0).normal(100, 5, (40, 64, 64)).astype(np.float32)
    single = viewer.add_image(series[0], name="single")
    wait_for_forecast(lambda: dock.inputs.image.choose(single))
    single_cost = dock.form.cost.text()
    whole = viewer.add_image(series, name="all", axis_labels=("t", "y", "x"))
    wait_for_forecast(lambda: dock.inputs.image.choose(whole))
    assert dock.form.cost.text() != single_cost
    assert "min" in dock.form.cost.text() or "h" in dock.form.cost.text()


@pytest.mark.parametrize("how", ["closed", "deleted"])
def test_a_forecast_that_ends_as_its_dock_is_closed_is_dropped(viewer, dock, qtbot, how):
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)))
    qtbot.waitUntil(lambda: dock.forecast._busy, timeout=300_000)
    QThreadPool.globalInstance().waitForDone()  # its report waits for the event loop
    if how == "closed":
        viewer.window.remove_dock_widget(dock)
    else:
        dock.parent().deleteLater()  # as with the window
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        assert not qtpy.compat.isalive(dock)
    assert dock.forecast._busy
    with qtbot.captureExceptions() as exceptions:
        qtbot.waitUntil(lambda: not dock.forecast._busy, timeout=300_000)
    assert exceptions == []


def test_a_closed_dock_gets_no_forecast(viewer, dock, qtbot):
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)))
    reports = []
    dock.forecast.ready.connect(reports.append)
    viewer.window.remove_dock_widget(dock)
    forecast = dock.forecast
    qtbot.waitUntil(lambda: not (forecast._timer.isActive() or forecast._busy), timeout=300_000)
    assert reports == []
    assert dock.session.state == State.IDLE


def test_a_mask_that_is_painted_cures_the_remark(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    ready = dock.forecast.ready
    with qtbot.waitSignal(ready, timeout=300_000):
        viewer.add_image(np.random.default_rng(0).normal(100, 5, (48, 48)), name="a")
    with qtbot.waitSignal(ready, timeout=300_000):
        dock.inputs.mask_button.menu().paint()
    assert "no pixel is missing" in dock.form.field_errors.sentences[0]
    assert not dock.run_controls.run_button.isEnabled()
    with qtbot.waitSignal(ready, timeout=300_000):
        dock.inputs.mask.layer().paint((20, 20), 1)
    assert dock.form.field_errors.sentences == []
    assert dock.run_controls.run_button.isEnabled()


def test_the_cost_of_other_settings_is_not_left_standing(viewer, dock, wait_for_forecast):
    wait_for_forecast(
        lambda: viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)), name="a")
    )
    assert dock.form.cost.text().startswith("about")
    dock.form.tasks.quality.setCurrentText("best")
    assert dock.form.cost.text() == "Estimating ..."


def test_noise_that_differs_between_channels_is_shown_as_a_range(viewer, dock, wait_for_forecast):
    rng = np.random.default_rng(0)
    channels = np.stack([rng.normal(100, sigma, (64, 64)) for sigma in (4, 12)])
    wait_for_forecast(lambda: viewer.add_image(channels, axis_labels=("c", "y", "x")))
    low, high = dock.form.entry("noise.sigma").native.placeholderText().split(" (est")[0].split(" to ")
    assert 3.5 < float(low) < 4.5
    assert 11 < float(high) < 13
