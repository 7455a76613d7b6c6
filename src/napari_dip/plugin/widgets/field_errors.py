"""Error messages below the entries of a form."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_dip.plugin.widgets.style import ERROR_STYLE


class FieldErrors:
    """Shows a sentence right below an entry, in one of several layouts."""

    def __init__(self, *layouts: QFormLayout) -> None:
        self._layouts = layouts
        self._labels: dict[QWidget, QLabel] = {}

    @property
    def sentences(self) -> list[str]:
        """The messages that are shown."""
        return [label.text() for label in self._labels.values() if label.text()]

    def show(self, widget: QWidget, sentence: str) -> None:
        """Show what is wrong with an entry; an empty `sentence` removes the message."""
        label = self._labels.get(widget)
        if label is None and not sentence:
            return
        layout = next(layout for layout in self._layouts if layout.indexOf(widget) >= 0)
        if label is None:
            label = self._labels[widget] = QLabel(wordWrap=True)
            label.setStyleSheet(f"{ERROR_STYLE} padding: 2px 4px;")
            layout.insertRow(layout.getWidgetPosition(widget)[0] + 1, label)
        label.setText(sentence)
        layout.setRowVisible(label, bool(sentence))

    def clear(self) -> None:
        """Remove all messages."""
        for widget in self._labels:
            self.show(widget, "")
