"""Appearance of the docks on a small screen, in both themes."""

from itertools import pairwise

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QPushButton

from napari_dip.plugin.session.run import State

NAMES = [
    "Denoise", "Inpaint", "Super-resolution", "Deconvolve", "Combine exposures",
    "Restore with a guide", "Map T1, T2, diffusion or decay", "Dynamic MRI", "Batch",
    "Compare two images",
]  # fmt: skip


def cut_off(dock):
    """Return the texts of labels, buttons and entries that are wider than their widgets."""
    texts = []
    for kind in (QLabel, QPushButton, QCheckBox, QComboBox):
        for widget in dock.findChildren(kind):
            if widget.isHidden() or not widget.isVisibleTo(dock) or widget.width() == 0:
                continue
            text = widget.currentText() if kind is QComboBox else widget.text()
            width = widget.fontMetrics().horizontalAdvance(text.removeprefix("<b>").removesuffix("</b>"))
            if kind is QLabel and widget.wordWrap():
                if widget.heightForWidth(widget.width()) > widget.height() + 1:
                    texts.append(text)
            elif width > widget.contentsRect().width() + 1:
                texts.append(text)
    for line in dock.findChildren(QLineEdit):
        if line.isVisibleTo(dock) and line.placeholderText():
            width = line.fontMetrics().horizontalAdvance(line.placeholderText())
            if width > line.contentsRect().width() + 1:
                texts.append(line.placeholderText())
    return texts


@pytest.fixture
def wait_for_layout(qtbot):
    """Waits until nothing in a dock is cut off, but texts that contain a given one."""

    def wait_for_layout(dock, except_for="never"):
        def check():
            assert [text for text in cut_off(dock) if except_for not in text] == []

        qtbot.waitUntil(check, timeout=300_000)

    return wait_for_layout


@pytest.fixture(params=["dark", "light"])
def small(make_napari_viewer_proxy, request):
    before = get_settings().appearance.theme
    get_settings().appearance.theme = request.param
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1366, 768)
    yield viewer
    get_settings().appearance.theme = before


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(small, name, qtbot, wait_for_layout):
    _, dock = small.window.add_plugin_dock_widget("napari-dip", name)
    wait_for_layout(dock)
    small.add_image(np.random.default_rng(0).normal(100, 5, (3, 2, 64, 64)), name="a" * 60)
    if name != "Compare two images":
        dock.form.advanced_box.expand(animate=False)
        for heading in dock.form.headings:
            heading.click()
    wait_for_layout(dock, except_for="a" * 60)  # a name that is wider than the dock may be cut
    assert dock.width() <= 1366 // 2
    qtbot.waitUntil(lambda: dock.body.width() <= dock.body.parent().width(), timeout=300_000)


def test_nothing_is_cut_off_during_and_after_a_run(small, quick_dock_of, qtbot, wait_for_layout):
    small.add_image(np.random.default_rng(0).normal(100, 5, (96, 96)), name="a")
    dock = quick_dock_of(small, "Denoise")
    dock.form.entry("solver.max_steps").value = 100_000
    dock.run_controls.run_button.click()
    qtbot.waitUntil(lambda: "in use" in dock.status.text(), timeout=300_000)
    wait_for_layout(dock)
    dock.run_controls.stop_button.click()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    assert not dock.result_controls.isHidden()
    wait_for_layout(dock)


def tab_stops(dock):
    """Return the bottoms, on the screen, of the widgets that Tab goes through from the image to Run."""
    texts, widget = [], dock.inputs.image
    while widget is not dock.run_controls.run_button:
        widget = widget.nextInFocusChain()
        if widget.isVisibleTo(dock) and widget.focusPolicy().value & 1:
            texts.append(widget.mapToGlobal(widget.rect().bottomLeft()).y())
    return texts


def test_the_tab_key_goes_through_the_dock_from_top_to_bottom(small, wait_for_layout):
    small.add_image(np.random.default_rng(0).normal(100, 5, (64, 64)), name="a")
    _, dock = small.window.add_plugin_dock_widget("napari-dip", "Denoise")
    wait_for_layout(dock)
    bottoms = tab_stops(dock)
    assert len(bottoms) >= 7  # tools, mask, new mask, noise, sigma, quality, advanced, run
    assert all(after >= before - 8 for before, after in pairwise(bottoms))  # in the same row, or below
