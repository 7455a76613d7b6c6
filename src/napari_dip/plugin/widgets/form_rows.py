"""Entries of settings laid out as the rows of a form."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_dip.plugin.widgets.entries import label_text
from napari_dip.plugin.widgets.settings_form import FormRow


class FormRows:
    """Some entries in a layout, with their labels in one column; only relevant ones are visible.

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
        group = ""
        for row in rows:
            entry, is_choice = row.entry, row.entry.name.endswith(".kind")
            starts_group = titled and "." in entry.name and entry.name.partition(".")[0] != group
            if starts_group:
                group = entry.name.partition(".")[0]
            if starts_group and not (is_choice and row.title == label_text(group)):
                self._insert(QLabel(f"<b>{label_text(group)}</b>"))
            label = row.title if is_choice else entry.label
            if starts_group and is_choice:
                label = f"<b>{label}</b>"
            self._insert("" if isinstance(entry, CheckBox) else label, entry.native)
        self.refresh()

    def refresh(self) -> None:
        """Show the entries of the selected union members, and hide the others."""
        for row in self._rows:
            self._layout.setRowVisible(row.entry.native, row.is_visible())

    def _insert(self, *parts: Any) -> None:
        self._layout.insertRow(self._next_row, *parts)
        self._next_row += 1
