"""Fixtures for tests that need napari; those with a window are skipped where there is no display."""

import os
import sys

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
    """Where presets are kept: never the person's own folder."""
    from napari_dip.plugin import preferences as remembered

    monkeypatch.setattr(remembered, "_folder", lambda: tmp_path / "presets")
    return tmp_path / "presets"


@pytest.fixture(autouse=True)
def no_worker_left():
    """No run may outlive its test."""
    yield
    from superqt.utils import WorkerBase

    if not WorkerBase._worker_set:
        return
    from qtpy.QtCore import QCoreApplication, QThreadPool

    QThreadPool.globalInstance().waitForDone(20_000)
    QCoreApplication.processEvents()
    left = list(WorkerBase._worker_set)
    WorkerBase._worker_set.clear()
    assert not left


def at_once(job, on_iterate, on_outcome):
    """Drive `job` to its end here and now."""
    try:
        while True:
            on_iterate(next(job))
    except StopIteration as end:
        on_outcome(end.value)


class Script:
    """A driver that does something after each sign of life."""

    def __init__(self):
        self.after = lambda iterate: None

    def __call__(self, job, on_iterate, on_outcome):
        def note(iterate):
            on_iterate(iterate)
            self.after(iterate)

        at_once(job, note, on_outcome)


@pytest.fixture
def script():
    """The driver of `session`."""
    return Script()


@pytest.fixture
def model():
    """A viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def session(model, script):
    """A session on it that runs at once; what it says is in `sentences`."""
    from napari_dip.plugin.session.session import Session

    session = Session(model, start=script)
    session.sentences = []
    session.message.connect(lambda sentence, error: session.sentences.append((sentence, error)))
    return session


@pytest.fixture
def quick_dock(viewer, quick_dock_of):
    """Opens the dock of a name, with settings that take a second and restore nothing well."""
    return lambda name: quick_dock_of(viewer, name)


@pytest.fixture
def quick_dock_of():
    """The same in a viewer of one's own."""

    def opened(viewer, name):
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", name)
        changes = {"network.channels": 8, "network.depth": 2}
        for setting, value in {**changes, "stopping.kind": "fixed", "solver.max_steps": 4}.items():
            dock.form.entry(setting).value = value
        return dock

    return opened
