"""Entries of settings laid out as the rows of a form."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_dip.plugin.widgets.entries import label_text
from napari_dip.plugin.widgets.settings_form import FormRow


class FormRows:
    """Some entries in a layout, with their labels in one column.

    Only relevant ones are visible, and those whose values have changed are underlined.

    Parameters
    ----------
    layout : QFormLayout
        Where the rows are added.
    rows : list of FormRow
        The entries.
    before : QWidget, optional
        The widget of the layout above which they are inserted; without it they are appended.
    titled : bool
        Whether each group starts with its title.
    """

    def __init__(
        self,
        layout: QFormLayout,
        rows: list[FormRow],
        *,
        before: QWidget | None = None,
        titled: bool = False,
    ) -> None:
        self._layout, self._rows = layout, rows
        self._next_row = layout.rowCount() if before is None else layout.getWidgetPosition(before)[0]
        self._titles: list[QLabel] = []
        self._as_loaded: dict[str, Any] = {}
        group = ""
        for row in rows:
            entry, is_choice = row.entry, row.entry.name.endswith(".kind")
            starts_group = titled and "." in entry.name and entry.name.partition(".")[0] != group
            if starts_group:
                group = entry.name.partition(".")[0]
            if starts_group and not (is_choice and row.title == label_text(group)):
                self._titles.append(QLabel(f"<b>{label_text(group)}</b>"))
                self._insert(self._titles[-1])
            label = row.title if is_choice else entry.label
            if starts_group and is_choice:
                label = f"<b>{label}</b>"
            self._insert("" if isinstance(entry, CheckBox) else label, entry.native)
        self.refresh()

    def refresh(self, words: str = "") -> None:
        """Show the entries of the selected union members whose texts have these words, and hide the
        others; underline what has changed since `mark_loaded`.
        """
        for title in self._titles:
            self._layout.setRowVisible(title, not words)
        for row in self._rows:
            native, value = row.entry.native, row.entry.value
            self._layout.setRowVisible(native, row.is_visible() and _contains(row, words))
            named = self._layout.labelForField(native) or native
            font = named.font()
            font.setUnderline(value != self._as_loaded.get(row.entry.name, value))
            named.setFont(font)

    def mark_loaded(self) -> None:
        """Take the present values for those of the task."""
        self._as_loaded = {row.entry.name: row.entry.value for row in self._rows}

    def _insert(self, *parts: Any) -> None:
        self._layout.insertRow(self._next_row, *parts)
        self._next_row += 1


def _contains(row: FormRow, words: str) -> bool:
    entry = row.entry
    text = f"{entry.name} {label_text(entry.name.rpartition('.')[2])} {entry.tooltip}".lower()
    return all(word in text for word in words.lower().split())
