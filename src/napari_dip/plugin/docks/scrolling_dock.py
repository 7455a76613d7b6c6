"""The base of all docks: a column that scrolls above a footer, and stops its work when it is closed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dip.plugin.widgets.style import ERROR_STYLE


class ScrollingDock(QWidget):  # type: ignore[misc]
    """A dock whose body scrolls vertically, above a footer that is always visible.

    Attributes
    ----------
    status : QLabel
        A sentence for the user.
    is_removed : bool
        Whether the dock has been closed.
    is_error_shown : bool
        Whether it is an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self._docked = self.is_removed = self.is_error_shown = False
        self.status = QLabel(wordWrap=True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._area, 1)
        self._footer = QVBoxLayout()
        self._footer.setContentsMargins(9, 0, 9, 9)
        column.addLayout(self._footer)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def lay_out(self, body: QWidget, *footer: QWidget) -> None:
        """Put widgets into the dock: one that scrolls, and others below it."""
        self._area.setWidget(body)
        for widget in footer:
            self._footer.addWidget(widget)
        ignore_wheel(self)

    @property
    def body(self) -> QWidget:
        """The widget that scrolls."""
        return self._area.widget()

    def show_widget(self, widget: QWidget) -> None:
        """Scroll until a widget of the body is visible."""
        if self.body.isAncestorOf(widget):
            self._area.ensureWidgetVisible(widget)

    def stop_work(self) -> None:
        """Stop what runs in the background; called when the dock is closed."""
        raise NotImplementedError

    def set_title(self, title: str) -> None:
        """Show another title above the dock."""
        bar = getattr(self.parentWidget(), "titleBarWidget", lambda: None)()
        if (label := getattr(bar, "title", None)) is not None:
            label.setText(f"{title} (napari-dip)")

    def say(self, sentence: str, *, error: bool = False, style: str = "") -> None:
        """Show a sentence: an error in white on red, or in another style."""
        self.is_error_shown = error
        style = ERROR_STYLE if error else style
        self.status.setStyleSheet(f"{style} padding: 4px;" if style else "")
        self.status.setText(sentence)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size as wide as the form."""
        return QSize(max(320, self.minimumSizeHint().width()), 640)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size wide enough that no entry is cut off."""
        body = self.body
        bar = self._area.verticalScrollBar().sizeHint().width() + 2 * self._area.frameWidth()
        width = bar + (body.minimumSizeHint().width() if body else 300)
        return QSize(max(width, self._footer.minimumSize().width()), 200)

    def event(self, event: QEvent) -> bool:
        """Stop the work when the dock is closed: napari then removes the widget from its parent."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.is_removed = True
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
