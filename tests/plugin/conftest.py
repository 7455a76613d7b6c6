"""Fixtures for tests that need napari; those with a window are skipped where there is no display."""

import os
import sys
import time

import numpy as np
import pytest

napari = pytest.importorskip("napari", reason="napari is not installed")


def pytest_collection_modifyitems(items):
    for item in items:
        if "plugin" in item.path.parts:
            item.add_marker(pytest.mark.window)


@pytest.fixture
def viewer(make_napari_viewer_proxy, request):
    """A real viewer; threads that touch it are errors, threads that outlive it too."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display, and no Xvfb for pytest-xvfb to start")
    return make_napari_viewer_proxy()


@pytest.fixture(autouse=True)
def presets_folder(tmp_path, monkeypatch):
    """Folders for saved recipes and for what is kept of runs, instead of the user's own."""
    from napari_dip.plugin import preferences

    monkeypatch.setattr(preferences, "_folder", lambda: tmp_path / "presets")
    monkeypatch.setattr(preferences, "user_cache_path", lambda *_, **__: tmp_path)
    return tmp_path / "presets"


@pytest.fixture(autouse=True)
def no_worker_left():
    """Checks that no worker outlives its test."""
    yield
    from superqt.utils import WorkerBase

    if not WorkerBase._worker_set:
        return
    from qtpy.QtCore import QCoreApplication, QThreadPool

    deadline = time.monotonic() + 180  # a forecast takes long on a busy machine
    while WorkerBase._worker_set and time.monotonic() < deadline:
        QThreadPool.globalInstance().waitForDone(100)
        QCoreApplication.processEvents()
    left = list(WorkerBase._worker_set)
    WorkerBase._worker_set.clear()
    assert not left


def at_once(job, on_progress, on_outcome):
    """Run `job` to its end, without a thread."""
    try:
        while True:
            on_progress(next(job))
    except StopIteration as end:
        on_outcome(end.value)


class Script:
    """A runner that calls `after` after each progress report."""

    def __init__(self):
        self.after = lambda progress: None

    def __call__(self, job, on_progress, on_outcome):
        def report(progress):
            on_progress(progress)
            self.after(progress)

        at_once(job, report, on_outcome)


@pytest.fixture
def script():
    """The runner of `session`."""
    return Script()


@pytest.fixture
def model():
    """A viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def session(model, script):
    """A session on `model` that runs at once, and adds all layers that belong to a result; its messages
    and the summaries of its results are in `sentences`.
    """
    from napari_dip.plugin.session.session import Session

    session = Session(model, start=script)
    session.sentences = []
    session.message.connect(lambda sentence, error: session.sentences.append((sentence, error)))

    def add_all(result):
        session.sentences.append((result.summary, result.assessment.level == "failed"))
        layers = session.current_run.layers
        for name in layers.extras:
            layers.show_extra(name, on=True)

    session.shown.connect(add_all)
    return session


@pytest.fixture
def small_fit():
    """Entries of a form with which a fit takes a second; the result is poor."""
    return {"network.channels": 8, "network.depth": 3, "stopping.kind": "fixed"}


@pytest.fixture
def click(qtbot):
    """Presses a button, which must be enabled."""
    from qtpy.QtCore import Qt

    def click(button):
        assert button.isEnabled(), button.text()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return click


@pytest.fixture
def quick_dock(viewer, quick_dock_of):
    """Opens a dock with settings that take a second; the result is poor."""
    return lambda name: quick_dock_of(viewer, name)


@pytest.fixture
def quick_dock_of():
    """The same in a given viewer."""

    def opened(viewer, name):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        changes = {"network.channels": 8, "network.depth": 2}
        for setting, value in {**changes, "stopping.kind": "fixed", "solver.max_steps": 4}.items():
            dock.form.entry(setting).value = value
        return dock

    return opened


@pytest.fixture
def open_dock(viewer, small_fit):
    """Opens a dock whose run goes on until it is stopped."""

    def open_dock(name="Denoise"):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        for setting, value in {**small_fit, "solver.max_steps": 1_000_000}.items():
            dock.form.entry(setting).value = value
        return dock

    return open_dock


@pytest.fixture
def pixels(noisy):
    """(96, 112) float32: the noisy scene four times."""
    return np.tile(noisy, (2, 2)).astype(np.float32)
