"""What the docks look like on a small screen: nothing is cut off, in both themes."""

from itertools import pairwise

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QLabel, QLineEdit, QPushButton

from napari_dip.plugin.session.run import State

NAMES = [
    "Denoise", "Inpaint", "Super-resolution", "Deconvolve", "Combine exposures",
    "Restore with a guide", "Dynamic MRI", "Batch", "Compare two images",
]  # fmt: skip


def cut_off(dock):
    """What cannot be read as a whole: texts of labels, buttons and entries that are wider than they."""
    found = []
    for kind in (QLabel, QPushButton, QCheckBox, QComboBox):
        for widget in dock.findChildren(kind):
            if widget.isHidden() or not widget.isVisibleTo(dock) or widget.width() == 0:
                continue
            text = widget.currentText() if kind is QComboBox else widget.text()
            wide = widget.fontMetrics().horizontalAdvance(text.removeprefix("<b>").removesuffix("</b>"))
            if kind is QLabel and widget.wordWrap():
                if widget.heightForWidth(widget.width()) > widget.height() + 1:
                    found.append(text)
            elif wide > widget.contentsRect().width() + 1:
                found.append(text)
    for line in dock.findChildren(QLineEdit):
        if line.isVisibleTo(dock) and line.placeholderText():
            wide = line.fontMetrics().horizontalAdvance(line.placeholderText())
            if wide > line.contentsRect().width() + 1:
                found.append(line.placeholderText())
    return found


def settle():
    for _ in range(5):
        QApplication.processEvents()


@pytest.fixture(params=["dark", "light"])
def small(make_napari_viewer_proxy, request):
    before = get_settings().appearance.theme
    get_settings().appearance.theme = request.param
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1366, 768)
    yield viewer
    get_settings().appearance.theme = before


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(small, name):
    _, dock = small.window.add_plugin_dock_widget("napari-dip", name)
    settle()
    assert cut_off(dock) == []
    small.add_image(np.random.default_rng(0).normal(100, 5, (3, 2, 64, 64)), name="a" * 60)
    if name != "Compare two images":
        dock.form.fold.expand(animate=False)
    settle()
    # A name that is longer than the dock is wide may be cut.
    assert [text for text in cut_off(dock) if "a" * 60 not in text] == []
    assert dock.width() <= 1366 // 2
    assert dock.widget().width() <= dock.viewport().width()


def test_nothing_is_cut_off_while_it_runs_and_afterwards(small, quick_dock_of, qtbot):
    small.add_image(np.random.default_rng(0).normal(100, 5, (96, 96)), name="a")
    dock = quick_dock_of(small, "Denoise")
    dock.form.entry("solver.max_steps").value = 100_000
    dock.panel.run_button.click()
    qtbot.waitUntil(lambda: "in use" in dock.status.text(), timeout=20_000)
    settle()
    assert cut_off(dock) == []
    dock.panel.finish_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=20_000)
    settle()
    assert not dock.after.isHidden()
    assert cut_off(dock) == []


def stops_of(dock):
    """Where the entries and buttons end on the screen to which Tab comes, from the image to Run."""
    found, widget = [], dock.inputs.image
    while widget is not dock.panel.run_button:
        widget = widget.nextInFocusChain()
        if widget.isVisibleTo(dock) and widget.focusPolicy().value & 1:
            found.append(widget.mapToGlobal(widget.rect().bottomLeft()).y())
    return found


def test_the_keyboard_goes_through_the_dock_in_the_order_of_the_eye(small):
    small.add_image(np.random.default_rng(0).normal(100, 5, (64, 64)), name="a")
    _, dock = small.window.add_plugin_dock_widget("napari-dip", "Denoise")
    settle()
    bottoms = stops_of(dock)
    assert len(bottoms) >= 7  # tools, holes, make, noise, sigma, quality, advanced, run
    assert all(after >= before - 8 for before, after in pairwise(bottoms))  # of one row, or below
