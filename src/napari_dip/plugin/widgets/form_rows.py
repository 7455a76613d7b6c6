"""Entries of settings laid out as the rows of a form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QToolButton, QWidget

from napari_dip.plugin.widgets.entries import label_text
from napari_dip.plugin.widgets.settings_form import FormRow


class FormRows:
    """Some entries in a layout, with their labels in one column.

    Only relevant ones are visible, and those whose values have changed are underlined.

    Parameters
    ----------
    layout : QFormLayout
        Where the rows are added.
    rows : sequence of FormRow
        The entries.
    before : QWidget, optional
        The widget of the layout above which they are inserted; without it they are appended.
    heading : str
        Text of a button above them, which shows and hides them; they are hidden at first. Each group of
        settings then has its title.
    """

    def __init__(
        self,
        layout: QFormLayout,
        rows: Sequence[FormRow],
        *,
        before: QWidget | None = None,
        heading: str = "",
    ) -> None:
        self._layout, self._rows = layout, rows
        self._next_row = layout.rowCount() if before is None else layout.getWidgetPosition(before)[0]
        self.heading = _heading(heading) if heading else None
        self._titles: dict[str, QLabel] = {}
        self._as_loaded: dict[str, Any] = {}
        self._words = ""
        if self.heading:
            self._insert(self.heading)
            self.heading.toggled.connect(lambda _: self.refresh(self._words))
        group = heading.lower()  # which needs no title of its own
        for row in rows:
            entry, is_choice = row.entry, row.entry.name.endswith(".kind")
            own_group = _group(row)
            starts_group = bool(heading) and own_group not in ("", group)
            label = row.title if is_choice else entry.label
            if starts_group:
                group = own_group
                if is_choice and row.title == label_text(group):
                    label = f"<b>{label}</b>"
                else:
                    self._titles[group] = QLabel(f"<b>{label_text(group)}</b>")
                    self._insert(self._titles[group])
            self._insert("" if isinstance(entry, CheckBox) else label, entry.native)
        self.refresh()

    def refresh(self, words: str = "") -> None:
        """Show the entries of the selected union members below an open heading, or those whose texts
        have these words; underline what has changed since `mark_loaded`.
        """
        self._words = words
        is_open = self.heading is None or self.heading.isChecked() or bool(words)
        relevant = [row for row in self._rows if row.is_visible() and _contains(row, words)]
        for row in self._rows:
            native = row.entry.native
            self._layout.setRowVisible(native, is_open and row in relevant)
            _underline(self._layout.labelForField(native) or native, on=self._is_changed(row))
        shown = {_group(row) for row in relevant}
        for group, title in self._titles.items():
            self._layout.setRowVisible(title, is_open and group in shown)
        if self.heading is not None:
            self._layout.setRowVisible(self.heading, bool(relevant))
            self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
            _underline(self.heading, on=any(map(self._is_changed, relevant)))

    def mark_loaded(self) -> None:
        """Take the present values for those of the task."""
        self._as_loaded = {row.entry.name: row.entry.value for row in self._rows}

    def open_for(self, setting: str) -> None:
        """Open the heading if it hides the entry of this setting."""
        if self.heading is not None and any(row.entry.name == setting for row in self._rows):
            self.heading.setChecked(True)

    def _is_changed(self, row: FormRow) -> bool:
        return bool(row.entry.value != self._as_loaded.get(row.entry.name, row.entry.value))

    def _insert(self, *parts: Any) -> None:
        self._layout.insertRow(self._next_row, *parts)
        self._next_row += 1


def _heading(text: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setCheckable(True)
    button.setAutoRaise(True)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    return button


def _underline(widget: QWidget, *, on: bool) -> None:
    font = widget.font()
    font.setUnderline(on)
    widget.setFont(font)


def _group(row: FormRow) -> str:
    """The group that a setting belongs to, or an empty string."""
    group, dot, _ = row.entry.name.partition(".")
    return group if dot else ""


def _contains(row: FormRow, words: str) -> bool:
    entry = row.entry
    text = f"{entry.name} {label_text(entry.name.rpartition('.')[2])} {entry.tooltip}".lower()
    return all(word in text for word in words.lower().split())
