"""The base of all docks: a column that scrolls, and that stops its work when it is closed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

from napari_dip.plugin.widgets.style import ERROR_STYLE


class ScrollingDock(QScrollArea):  # type: ignore[misc]
    """A dock that is as wide as its entries need, and scrolls vertically."""

    def __init__(self) -> None:
        super().__init__()
        self._docked = False
        self.status = QLabel(wordWrap=True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def stop_work(self) -> None:
        """Stop what runs in the background; called when the dock is closed."""
        raise NotImplementedError

    def say(self, sentence: str, *, error: bool = False) -> None:
        """Show a sentence; an error in white on red, which is readable in every theme."""
        self.status.setStyleSheet(f"{ERROR_STYLE} padding: 4px;" if error else "")
        self.status.setText(sentence)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size as wide as the form."""
        return QSize(max(360, self.minimumSizeHint().width()), 640)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size wide enough that no entry is cut off."""
        body = self.widget()
        bar = self.verticalScrollBar().sizeHint().width() + 2 * self.frameWidth()
        return QSize(bar + (body.minimumSizeHint().width() if body else 300), 200)

    def event(self, event: QEvent) -> bool:
        """Stop the work when the dock is closed: napari then removes the widget from its parent."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.stop_work()
            self._docked = self.parent() is not None
        return bool(super().event(event))


class _WheelFilter(QObject):  # type: ignore[misc]
    """Makes the mouse wheel scroll the dock instead of changing the entry under the pointer."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def ignore_wheel(widget: QWidget) -> None:
    """Keep the mouse wheel from changing entries in `widget` that do not have the focus."""
    for kind in (QComboBox, QAbstractSpinBox):
        for entry in widget.findChildren(kind):
            if not entry.findChildren(_WheelFilter):
                entry.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                entry.installEventFilter(_WheelFilter(entry))


def set_tab_order(widgets: Iterable[QWidget]) -> None:
    """Let the Tab key go through widgets in this order."""
    for first, second in pairwise(widgets):
        QWidget.setTabOrder(first, second)
