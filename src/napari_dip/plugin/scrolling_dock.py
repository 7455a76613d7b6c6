"""What every dock is: a column that scrolls, and that lets its work go when it is closed."""

from __future__ import annotations

from itertools import pairwise

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

LAST = 1000  # in a layout within a layout


class ScrollingDock(QScrollArea):  # type: ignore[misc]
    """A dock's body, as wide as its entries need; there is no horizontal scrolling."""

    def __init__(self) -> None:
        super().__init__()
        self._docked = False
        self.status = QLabel(wordWrap=True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def let_go(self) -> None:
        """End the work: the dock was closed."""
        raise NotImplementedError

    def settle(self) -> None:
        """See to the wheel and to the order of Tab, once entries have come or gone."""
        calm(self.widget())
        order_tabs(self.widget())

    def say(self, sentence: str, *, error: bool = False) -> None:
        """Show one sentence; an error in white on red, which is readable in every theme."""
        style = "background: #99121f; color: white; padding: 4px;" if error else ""
        self.status.setStyleSheet(style)
        self.status.setText(sentence)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As wide as the form needs, as high as there is room."""
        return QSize(max(360, self.minimumSizeHint().width()), 640)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Never so narrow that entries are cut off."""
        body = self.widget()
        bar = self.verticalScrollBar().sizeHint().width() + 2 * self.frameWidth()
        return QSize(bar + (body.minimumSizeHint().width() if body else 300), 200)

    def event(self, event: QEvent) -> bool:
        """Let the work go with the dock: napari takes a closed dock's widget out of its parent."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.let_go()
            self._docked = self.parent() is not None
        return bool(super().event(event))


class _CalmWheel(QObject):  # type: ignore[misc]
    """Lets the wheel scroll the dock and not change the entry that happens to be under it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def calm(widget: QWidget) -> None:
    """Keep the wheel from changing the entries in `widget`, as long as nobody clicked on them."""
    for kind in (QComboBox, QAbstractSpinBox):
        for entry in widget.findChildren(kind):
            if not entry.findChildren(_CalmWheel):
                entry.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                entry.installEventFilter(_CalmWheel(entry))


def order_tabs(body: QWidget) -> None:
    """Let Tab go through `body` from top to bottom, also where entries came later than others.

    Layouts are asked for places, never for their items: PySide keeps an item that was deleted with its
    row, and takes what is later at the same address for it, which brings the process down.
    """
    stops = [w for w in body.findChildren(QWidget) if w.focusPolicy() & Qt.FocusPolicy.TabFocus]
    for first, second in pairwise(sorted(stops, key=lambda widget: _place(widget, body))):
        QWidget.setTabOrder(first, second)


def _place(widget: QWidget, body: QWidget) -> tuple[int, ...]:
    """Where a widget is read in `body`: the place of what it is in, then that in there."""
    if widget is body:
        return ()
    parent = widget.parentWidget()
    rows = [form.getWidgetPosition(widget)[0] for form in parent.findChildren(QFormLayout)]
    number = max(rows, default=-1)
    if number < 0 and parent.layout() is not None:
        number = parent.layout().indexOf(widget)
    return (*_place(parent, body), number if number >= 0 else LAST)
