"""The form of a whole recipe: what is asked of everybody, and the rest folded away."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from magicgui.widgets.bases import ValueWidget
from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip.core.errors import SettingsError
from napari_dip.plugin import preferences as remembered
from napari_dip.plugin.widgets.settings_form import FormRows, SettingsGroup
from napari_dip.plugin.widgets.style import ERROR_STYLE
from napari_dip.run.recipe import QUALITIES, Recipe, list_presets

USER_SETTINGS = ("compute", "seed")  # what a person says for all tasks
NOT_SET_BY_QUALITY = set(Recipe.model_fields) - {"network", "stopping", "solver", "ensemble"}
SAVED_SETTINGS = "as saved"


class RecipeForm(QWidget):  # type: ignore[misc]
    """Begins with a preset, and gives the recipe as the person left it.

    Docks put what they ask themselves into `rows` and `details`, and then call `lay_out`.

    Attributes
    ----------
    rows, details : QFormLayout
        What is asked of everybody; what is folded away.
    task, level : QComboBox
        The preset, by name; how good.
    noise, cost : QLabel
        What the noise is taken for, below its entries; what the level comes to, below it.
    """

    changed = Signal()
    """An entry, or all of them."""
    refused = Signal(str)
    """Why entries could not be kept, as a sentence."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        at_level = Recipe.preset(preset).with_quality(remembered.default_quality())
        self._recipe = at_level.with_settings(remembered.compute_settings())
        self._views: list[FormRows] = []
        self._showing = False
        self._remarks: dict[QWidget, QLabel] = {}
        self.task_combo, self.quality = QComboBox(), QComboBox()
        self.list_tasks()
        self.task_combo.setCurrentIndex(self.task_combo.findData(preset))
        self.quality.addItems(QUALITIES)
        self.quality.setCurrentText(remembered.default_quality())
        self.quality.setToolTip(
            "Fast: a first look. Balanced: the usual. Best: the mean of four fits, and its uncertainty."
        )
        self.noise, self.cost = QLabel(wordWrap=True), QLabel(wordWrap=True)
        for note in (self.noise, self.cost):
            note.setMinimumWidth(300)  # else Qt takes short sentences for two lines
        self.basic_layout, self.advanced_layout = QFormLayout(), QFormLayout()
        for layout in (self.basic_layout, self.advanced_layout):
            layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.advanced_layout.addRow("Task", self.task_combo)
        inside = QWidget()
        inside.setLayout(self.advanced_layout)
        self.advanced_box = QCollapsible("Advanced")
        self.advanced_box.setDuration(0)
        self.advanced_box.addWidget(inside)
        policy = inside.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # the dock is as wide as it will need to be
        inside.setSizePolicy(policy)
        self.advanced_box.toggled.connect(inside.setVisible)  # else Tab goes through what cannot be seen
        inside.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self.basic_layout)

    def lay_out(self) -> None:
        """Put the recipe's own entries below what the docks put there."""
        for label, widget in (("", self.noise), ("Quality", self.quality), ("", self.cost)):
            self.basic_layout.addRow(label, widget)
        self._entries = SettingsGroup(Recipe, self._recipe)
        self._all = list(self._entries.rows())
        in_sight = [row for row in self._all if row.is_basic]
        folded = [row for row in self._all if not row.is_basic]
        folded.sort(key=lambda row: "." in row.entry.name)  # those of no group come first
        self._views = [
            FormRows(self.basic_layout, in_sight, before=self.noise),
            FormRows(self.advanced_layout, folded, titled=True),
        ]
        for row in self._all:
            row.entry.changed.connect(self._on_entry)
        self._after_other()
        self.show_notes()
        for choice, kept in ((self.task_combo, USER_SETTINGS), (self.quality, NOT_SET_BY_QUALITY)):
            choice.currentIndexChanged.connect(lambda _, kept=kept: self._choose(kept))

    @property
    def title(self) -> str:
        """The task's name."""
        return self._recipe.title

    def list_tasks(self) -> None:
        """Offer the presets, those that were saved, and the settings of the last run."""
        blocked, chosen = self.task_combo.blockSignals(True), self.task_combo.currentData()
        self.task_combo.clear()
        for name in list_presets():
            self.task_combo.addItem(Recipe.preset(name).title, name)
        if saved := remembered.saved_recipes():
            self.task_combo.insertSeparator(self.task_combo.count())
        for name, path in saved.items():
            self.task_combo.addItem(name, path)
        self.task_combo.setCurrentIndex(self.task_combo.findData(chosen))
        self.task_combo.blockSignals(blocked)

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """The widget of the setting called `dotted`."""
        return self._entries.entry(dotted)

    def set_placeholder(self, dotted: str, value: str) -> bool:
        """Show in an entry what will be taken if it stays empty; whether it is there, and empty."""
        try:
            entry = self.entry(dotted)
        except KeyError:
            return False
        entry.native.setPlaceholderText(f"{value} (estimated)" if value else "automatic")
        return not entry.value

    def show_notes(self) -> None:
        """Show the lines below the entries that say something."""
        for label in (self.noise, self.cost):
            self.basic_layout.setRowVisible(label, bool(label.text()))

    def recipe(self, *, threads: int | None = None) -> Recipe:
        """The recipe as the form stands, with so many threads where the person named no number.

        Raises
        ------
        SettingsError
            If an entry is out of bounds.
        """
        entered = self._entries.values()
        if entered["compute"]["threads"] is None:
            entered["compute"]["threads"] = threads
        kept = self._recipe.model_dump(include={"title", "summary"})
        return Recipe.parse(kept | entered, source="settings")

    def check(self, *, threads: int | None = None) -> Recipe | None:
        """The recipe, or None with a remark beside the entry that is to blame."""
        for row in self._all:
            self.show_error(row.entry.native)
        try:
            return self.recipe(threads=threads)
        except SettingsError as error:
            if not self.show_error_for(error.setting, str(error)):
                self.refused.emit(str(error))
            return None

    def show_error_for(self, setting: str, sentence: str) -> bool:
        """Say below the entry of a setting what is wrong with it; whether it is there to be seen."""
        blamed = [row for row in self._all if row.entry.name == setting and row.is_visible()]
        for row in blamed[:1]:
            self.show_error(row.entry.native, sentence.removeprefix("settings: "))
        return bool(blamed)

    def show_error(self, widget: QWidget, sentence: str = "") -> None:
        """Say what is wrong with an entry right below it, or no longer."""
        label, layout = self._remarks.get(widget), self._layout_of(widget)
        if label is None:
            if not sentence:
                return
            label = self._remarks[widget] = QLabel(wordWrap=True)
            label.setStyleSheet(f"{ERROR_STYLE} padding: 2px 4px;")
            layout.insertRow(layout.getWidgetPosition(widget)[0] + 1, label)
        label.setText(sentence)
        layout.setRowVisible(label, bool(sentence))

    @property
    def tab_order(self) -> list[QWidget]:
        """The entries in sight and the button that shows the others, as they are read."""
        in_sight = [row.entry.native for row in self._all if row.is_basic]
        return [*in_sight, self.quality, self.advanced_box.toggleButton()]

    @property
    def errors(self) -> list[str]:
        """What is wrong with entries that can be seen."""
        return [label.text() for label in self._remarks.values() if label.text()]

    def enable(self, *, on: bool) -> None:
        """Let the person change it, or not."""
        for widget in (self.task_combo, self.quality, *(row.entry.native for row in self._all)):
            widget.setEnabled(on)

    def set_recipe(self, recipe: Recipe) -> None:
        """Show another recipe, in the same entries: to delete widgets and make others is not safe."""
        self._recipe = recipe
        self._showing = True
        self._entries.show(recipe)
        self._showing = False
        self._after_other()

    def _layout_of(self, widget: QWidget) -> QFormLayout:
        return self.basic_layout if self.basic_layout.indexOf(widget) >= 0 else self.advanced_layout

    def _choose(self, kept: Collection[str]) -> None:
        """The preset of the task at the level, with what was entered in the groups that are `kept`."""
        chosen = self.task_combo.currentData()
        if chosen is None:
            return
        if kept == USER_SETTINGS:  # another task
            self._offer_as_saved(chosen not in list_presets())
        if self.quality.currentText() == SAVED_SETTINGS:
            try:
                self.set_recipe(Recipe.from_file(chosen))
            except (SettingsError, OSError) as error:
                self.refused.emit(str(error))
            return
        own = {name: value for name, value in self._entered().items() if name in kept}
        preset = Recipe.preset(chosen) if chosen in list_presets() else self._recipe
        preset, refusal = preset.with_quality(self.quality.currentText()), ""
        try:
            recipe = Recipe.parse(preset.model_dump() | own, source="settings")
        except SettingsError as error:  # an entry that is being typed
            recipe, refusal = preset, f"{error}; the preset's settings were taken"
        self.set_recipe(recipe)
        if refusal:
            self.refused.emit(refusal)

    def _entered(self) -> dict[str, Any]:
        try:
            return self._entries.values()
        except SettingsError:
            return {}

    def _offer_as_saved(self, offered: bool) -> None:  # noqa: FBT001
        """A level more, where a recipe was saved with all its settings."""
        blocked = self.quality.blockSignals(True)
        place = self.quality.findText(SAVED_SETTINGS)
        if offered and place < 0:
            self.quality.addItem(SAVED_SETTINGS)
        if offered:
            self.quality.setCurrentText(SAVED_SETTINGS)
        elif place >= 0:
            if self.quality.currentIndex() == place:
                self.quality.setCurrentText("balanced")
            self.quality.removeItem(place)
        self.quality.blockSignals(blocked)

    def _after_other(self) -> None:
        self.task_combo.setToolTip(self._recipe.description)
        for widget in self._remarks:
            self.show_error(widget)
        self._on_entry()

    def _on_entry(self) -> None:
        if self._showing:
            return
        for view in self._views:
            view.refresh()
        self.changed.emit()


def spare_threads() -> int:
    """All cores but one, which the window needs."""
    return max(1, (os.cpu_count() or 2) - 1)
