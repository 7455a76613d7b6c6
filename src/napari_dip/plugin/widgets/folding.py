"""Boxes that are closed at first."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget
from superqt import QCollapsible


def folded(title: str, inside: QWidget) -> QCollapsible:
    """Return a closed box with `inside`, which Tab reaches only where the box is open."""
    box = QCollapsible(title)
    box.setDuration(0)
    box.layout().setContentsMargins(0, 0, 0, 0)
    box.addWidget(inside)
    box.toggled.connect(inside.setVisible)
    inside.hide()
    return box
