"""What the dock tells before a run: the noise, the cost, and what is wrong, beside what is to blame."""

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel

from napari_dip.plugin.session.run import State


@pytest.fixture
def dock(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    return dock


@pytest.fixture
def told(dock, qtbot):
    """Waits until something is told of what the dock shows now, after `change`."""

    def told(change):
        with qtbot.waitSignal(dock.forecast.told, timeout=30_000):
            change()

    return told


def test_noise_and_cost_follow_the_image(viewer, dock, told):
    rng = np.random.default_rng(0)
    quiet, loud = (rng.normal(100, sigma, (64, 80)) for sigma in (3, 12))
    told(lambda: viewer.add_image(quiet, name="quiet"))
    sigma = dock.form.entry("noise.sigma").native
    assert 2.7 < float(sigma.placeholderText().split(" (est")[0]) < 3.3
    assert dock.form.cost.text().startswith("about")
    assert "on the CPU" in dock.form.cost.text() or "GPU" in dock.form.cost.text()
    second = viewer.add_image(loud, name="loud")
    told(lambda: dock.inputs.image.choose(second))
    assert 11 < float(sigma.placeholderText().split(" (est")[0]) < 13
    told(lambda: setattr(dock.form.entry("noise.sigma"), "value", "12"))
    assert dock.form.noise.text() == "12: given."


def test_a_gain_that_nobody_said_is_asked_for_below_its_entry(viewer, dock, told):
    told(lambda: viewer.add_image(np.random.default_rng(0).poisson(20, (48, 48)).astype(float)))
    told(lambda: setattr(dock.form.entry("noise.kind"), "value", "poisson"))
    (remark,) = dock.form.remarks
    assert "needs the gain" in remark
    told(lambda: setattr(dock.form.entry("noise.gain"), "value", "1"))
    assert dock.form.remarks == []
    assert "gain 1" in dock.form.noise.text()


def test_layers_that_do_not_fit_are_told_below_their_pickers(viewer, dock, told):
    told(lambda: viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)), name="a"))
    told(
        lambda: (
            dock.inputs.refresh() or dock.inputs.holes.choose(viewer.add_labels(np.zeros((9, 9), int)))
        )
    )
    (remark,) = dock.form.remarks
    (label,) = [label for label in dock.findChildren(QLabel) if label.text() == remark]
    row, place = (
        dock.form.rows.getWidgetPosition(w)[0] for w in (label, dock.inputs.holes.parentWidget())
    )
    assert row == place + 1
    assert "(9, 9)" in remark
    told(lambda: dock.inputs.holes.choose(None))
    assert dock.form.remarks == []


def test_an_entry_out_of_bounds_is_told_below_it_at_once(viewer, dock):
    dock.form.entry("noise.sigma").value = "much"
    (remark,) = dock.form.remarks
    assert "much" in remark
    dock.form.entry("noise.sigma").value = "2"
    assert dock.form.remarks == []


def test_every_frame_of_a_series_counts(viewer, dock, told, qtbot):
    series = np.random.default_rng(0).normal(100, 5, (40, 64, 64)).astype(np.float32)
    one = viewer.add_image(series[0], name="one")
    told(lambda: dock.inputs.image.choose(one))
    alone = dock.form.cost.text()
    all_ = viewer.add_image(series, name="all", axis_labels=("t", "y", "x"))
    told(lambda: dock.inputs.image.choose(all_))
    assert dock.form.cost.text() != alone
    assert "min" in dock.form.cost.text() or "h" in dock.form.cost.text()


@pytest.mark.parametrize("milliseconds", [410, 450, 500])
def test_the_dock_may_be_closed_while_something_is_found_out(viewer, dock, qtbot, milliseconds):
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)))
    qtbot.wait(milliseconds)
    viewer.window.remove_dock_widget(dock)
    qtbot.wait(1000)


def test_nothing_is_told_of_a_dock_that_was_closed(viewer, dock, qtbot):
    viewer.add_image(np.random.default_rng(0).normal(9, 1, (48, 48)))
    said = []
    dock.forecast.told.connect(said.append)
    viewer.window.remove_dock_widget(dock)
    qtbot.wait(1500)
    assert said == []
    assert dock.session.state == State.IDLE
