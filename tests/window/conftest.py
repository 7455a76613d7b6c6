"""Fixtures for tests that need napari; those with a window are skipped where there is no display."""

import os
import sys

import pytest

napari = pytest.importorskip("napari", reason="napari is not installed")


def pytest_collection_modifyitems(items):
    for item in items:
        if "window" in item.path.parts:
            item.add_marker(pytest.mark.window)


@pytest.fixture
def viewer(make_napari_viewer_proxy, request):
    """A real viewer; threads that touch it are errors, threads that outlive it too."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display, and no Xvfb for pytest-xvfb to start")
    return make_napari_viewer_proxy()


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
