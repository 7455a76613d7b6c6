"""A run that ended with napari is offered to be resumed, and goes on where it stood."""

import json

import numpy as np
import psutil
import pytest
from astropy.io import fits

from napari_dip.plugin.session.interrupted import DESCRIPTION, find_interrupted
from napari_dip.plugin.session.run import State

SETTINGS = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed"}


@pytest.fixture
def image_file(tmp_path, noisy):
    fits.PrimaryHDU(noisy).writeto(tmp_path / "m31.fits")
    return tmp_path / "m31.fits"


@pytest.fixture
def make_dock(viewer):
    def make():
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
        return dock

    return make


@pytest.fixture
def leave(viewer, image_file, make_dock, qtbot, monkeypatch):
    """Start a run of a file and end it as a window does that is closed, as if its process were gone."""

    def leave_run(steps=600, **inputs):
        viewer.open(image_file, plugin="napari-dip")
        dock = make_dock()
        recipe = dock.form.recipe().with_quality("fast")
        dock.form.set_recipe(recipe.with_settings(SETTINGS | {"solver.max_steps": steps}))
        for role, name in inputs.items():
            getattr(dock.inputs, role).choose(name)
        reports = []
        dock.session.progressed.connect(reports.append)
        dock.run()
        qtbot.waitUntil(
            lambda: any(report.step >= 20 and not report.note for report in reports), timeout=300_000
        )
        folder = dock.session.current_run.warm_start.checkpoint.folder
        dock.session.close()
        qtbot.waitUntil(lambda: (folder / DESCRIPTION).exists(), timeout=300_000)
        assert find_interrupted() is None  # this process is alive
        values = json.loads((folder / DESCRIPTION).read_text())
        pid_exists = psutil.pid_exists
        monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != values["pid"] and pid_exists(pid))
        viewer.layers.clear()
        viewer.window.remove_dock_widget("all")
        return folder

    return leave_run


def test_a_run_is_resumed_with_its_image_and_its_settings(leave, viewer, make_dock, qtbot):
    folder = leave()
    dock = make_dock()
    note = dock.interrupted_note
    assert note.isVisibleTo(dock)
    assert note._label.text().startswith("Interrupted: Denoise, m31.fits, ")
    note.resume_button.click()
    assert dock.session.state == State.RUNNING
    assert dock.form.recipe().solver.max_steps == 600
    assert dock.form.tasks.quality.currentText() == "fast"
    assert dock.form.tasks.quality.currentText() == "fast"
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    result = dock.session.current_run.result
    assert "an interrupted run was continued at step" in result.provenance.notes
    assert len(result.history[0].loss) == 600
    assert not folder.exists()
    assert not note.isVisibleTo(dock)
    assert [layer.name for layer in viewer.layers] == ["m31.fits", "m31.fits [restored]"]


def test_a_run_is_discarded(leave, make_dock):
    folder = leave()
    dock = make_dock()
    dock.interrupted_note.discard_button.click()
    assert not folder.exists()
    assert not dock.interrupted_note.isVisibleTo(dock)


def test_what_belongs_to_the_image_is_asked_for(leave, viewer, make_dock):
    viewer.add_labels(np.eye(48, 56, dtype=int), name="scratch")
    folder = leave(mask=viewer.layers["scratch"])
    dock = make_dock()
    dock.interrupted_note.resume_button.click()
    assert dock.session.state == State.IDLE
    assert dock.status.text() == "Choose the same mask as before, and press Run: it goes on."
    assert folder.exists()


def test_a_discarded_run_leaves_nothing(viewer, image_file, make_dock, qtbot, tmp_path):
    viewer.open(image_file, plugin="napari-dip")
    dock = make_dock()
    dock.form.set_recipe(dock.form.recipe().with_settings(SETTINGS | {"solver.max_steps": 100_000}))
    dock.run()
    qtbot.waitUntil(lambda: dock.session.current_run.warm_start.fit is not None, timeout=300_000)
    dock.session.cancel()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    assert not list(tmp_path.rglob("fit-*"))
