"""The form of a whole recipe: basic entries, and the others in a box that can be opened."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from magicgui.widgets.bases import ValueWidget
from psygnal import Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_dip.core.errors import SettingsError
from napari_dip.plugin import preferences
from napari_dip.plugin.widgets.field_errors import FieldErrors
from napari_dip.plugin.widgets.folding import folded
from napari_dip.plugin.widgets.form_rows import FormRows
from napari_dip.plugin.widgets.settings_form import SettingsGroup
from napari_dip.plugin.widgets.task_selector import TaskSelector
from napari_dip.run.recipe import Recipe

USER_SETTINGS = ("compute", "seed")  # settings that do not depend on the task
HEADINGS = {  # of the entries in the box Advanced
    "Noise": ("noise",),
    "Model": (
        *("operator", "extrapolate", "hard_data_consistency", "regularization", "network"),
        *("signal", "network_input", "self_supervision", "output"),
    ),
    "Stack": ("stack",),
    "Stopping": ("solver", "stopping"),
    "Refinement": ("strength", "admm", "refinement", "ensemble"),
    "Computer": ("seed", "compute"),
}
NOT_SET_BY_QUALITY = set(Recipe.model_fields) - {"network", "stopping", "solver", "ensemble"}


class RecipeForm(QWidget):  # type: ignore[misc]
    """Starts with a preset, and returns the recipe as the user changed it.

    Docks first add their own rows to `basic_layout` and `advanced_layout`, then call `lay_out`.

    Attributes
    ----------
    basic_layout, advanced_layout : QFormLayout
        Entries that are always visible; entries in the box *Advanced*.
    advanced_box : QCollapsible
        That box.
    advanced_tools : QHBoxLayout
        The row on top of it.
    tasks : TaskSelector
        The choice of a task and of a quality.
    field_errors : FieldErrors
        The messages below entries.
    noise, cost : QLabel
        The noise estimate, and what a run will cost.
    """

    changed = Signal()
    """An entry, or all of them."""
    refused = Signal(str)
    """Why entries could not be used, as a sentence."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        recipe = Recipe.preset(preset).with_quality(preferences.default_quality())
        self._recipe = recipe.with_settings(preferences.compute_settings())
        self._views: list[FormRows] = []
        self._showing = False
        self.tasks = TaskSelector(preset)
        self.noise, self.cost = QLabel(wordWrap=True), QLabel(wordWrap=True)
        for note in (self.noise, self.cost):
            note.setMinimumWidth(200)  # without it Qt takes short sentences for two lines
        self.basic_layout, self.advanced_layout = QFormLayout(), QFormLayout()
        self.field_errors = FieldErrors(self.basic_layout, self.advanced_layout)
        for layout in (self.basic_layout, self.advanced_layout):
            layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
            layout.setVerticalSpacing(4)
            layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.basic_layout.addRow(QLabel("What do you want to do?"))
        self.basic_layout.addRow(self.tasks.task)
        self.search, self.reset_button = QLineEdit(), QPushButton("Reset")
        self.search.setPlaceholderText("Search the settings")
        self.search.setClearButtonEnabled(True)
        self.reset_button.setToolTip(
            "Set everything to the values of the task. Changed ones are underlined."
        )
        tools = QWidget()
        row = QHBoxLayout(tools)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.search, 1)
        row.addWidget(self.reset_button)
        self.advanced_tools = row
        self.advanced_layout.addRow(tools)
        inside = QWidget()
        inside.setLayout(self.advanced_layout)
        policy = inside.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # the dock is as wide as it will need to be
        inside.setSizePolicy(policy)
        self.advanced_box = folded("Advanced", inside)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self.basic_layout)

    def lay_out(self) -> None:
        """Add the entries of the recipe below the rows of the dock."""
        for label, widget in (("", self.noise), ("Quality", self.tasks.quality), ("", self.cost)):
            self.basic_layout.addRow(label, widget)
        self._entries = SettingsGroup(Recipe, self._recipe)
        self._rows = list(self._entries.rows())
        basic = [row for row in self._rows if row.is_basic]
        advanced = [row for row in self._rows if not row.is_basic]
        self._views = [FormRows(self.basic_layout, basic, before=self.noise)]
        for heading, names in HEADINGS.items():
            rows = [row for row in advanced if row.entry.name.partition(".")[0] in names]
            rows.sort(key=lambda row: "." in row.entry.name)  # those without a group first
            self._views.append(FormRows(self.advanced_layout, rows, heading=heading))
        for row in self._rows:
            row.entry.changed.connect(self._on_entry)
        self._on_recipe()
        self.show_notes()
        self.search.textChanged.connect(lambda _: self._refresh())
        self.reset_button.clicked.connect(self._reset)
        self.tasks.task_changed.connect(lambda: self._load(USER_SETTINGS))
        self.tasks.quality_changed.connect(lambda: self._load(NOT_SET_BY_QUALITY))

    @property
    def headings(self) -> list[QToolButton]:
        """The buttons in the box *Advanced* that show and hide the settings below them."""
        return [view.heading for view in self._views if view.heading is not None]

    @property
    def title(self) -> str:
        """Title of the task."""
        return self._recipe.title

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """Return the widget of the setting with this dotted name."""
        return self._entries.entry(dotted)

    def set_placeholder(self, dotted: str, value: str, source: str = "estimated") -> bool:
        """Show what an empty entry stands for, and return whether it is visible: it exists, empty."""
        try:
            entry = self.entry(dotted)
        except KeyError:
            return False
        entry.native.setPlaceholderText(f"{value} ({source})" if value else "automatic")
        return not entry.value

    def show_notes(self) -> None:
        """Show the notes that are not empty."""
        for label in (self.noise, self.cost):
            self.basic_layout.setRowVisible(label, bool(label.text()))

    def recipe(self, *, threads: int | None = None) -> Recipe:
        """Return the recipe as entered, with `threads` threads where no number is entered.

        Raises
        ------
        SettingsError
            If an entry is out of bounds.
        """
        entered = self._entries.values()
        if entered["compute"]["num_threads"] is None:
            entered["compute"]["num_threads"] = threads
        texts = self._recipe.model_dump(include={"title", "description", "category"})
        return Recipe.parse(texts | entered, source="settings")

    def check(self, *, threads: int | None = None) -> Recipe | None:
        """Return the recipe, or None and a message below the entry that is wrong."""
        for row in self._rows:
            self.field_errors.show(row.entry.native, "")
        try:
            return self.recipe(threads=threads)
        except SettingsError as error:
            if not self.show_error_for(error.setting, str(error)):
                self.refused.emit(str(error))
            return None

    def show_error_for(self, setting: str, sentence: str) -> bool:
        """Show a message below the entry of a setting, and return whether there is such an entry."""
        rows = [row for row in self._rows if row.entry.name == setting and row.is_visible()]
        for row in rows[:1]:
            for view in self._views:
                view.open_for(setting)
            self.field_errors.show(row.entry.native, sentence.removeprefix("settings: "))
        return bool(rows)

    @property
    def tab_order(self) -> list[QWidget]:
        """The visible entries and the button that shows the others, from top to bottom."""
        basic = [row.entry.native for row in self._rows if row.is_basic]
        return [*basic, self.tasks.quality, self.advanced_box.toggleButton()]

    def enable(self, *, on: bool) -> None:
        """Enable or disable all entries."""
        entries = (row.entry.native for row in self._rows)
        for widget in (self.tasks.task, self.tasks.quality, *entries):
            widget.setEnabled(on)

    def set_recipe(self, recipe: Recipe) -> None:
        """Show another recipe in the same entries: deleting widgets and making others is not safe."""
        self._recipe = recipe
        self._showing = True
        self._entries.show(recipe)
        self._showing = False
        self._on_recipe()

    def choose(self, recipe: Recipe) -> None:
        """Show a recipe with its task and its quality."""
        self.tasks.show(recipe)
        self.set_recipe(recipe)

    def _reset(self) -> None:
        self._load(())
        self.set_recipe(self._recipe.with_settings(preferences.compute_settings()))

    def _load(self, kept_groups: Collection[str]) -> None:
        """Show the selected task with the selected quality; entries in `kept_groups` stay."""
        if (path := self.tasks.saved_recipe) is not None:
            try:
                self.set_recipe(Recipe.from_file(path))
            except (SettingsError, OSError) as error:
                self.refused.emit(str(error))
            return
        preset = self.tasks.preset
        recipe = Recipe.preset(preset) if preset else self._recipe
        recipe, refusal = recipe.with_quality(self.tasks.quality.currentText()), ""
        kept = {name: value for name, value in self._entered().items() if name in kept_groups}
        try:
            recipe = Recipe.parse(recipe.model_dump() | kept, source="settings")
        except SettingsError as error:  # an entry is being typed
            refusal = f"{error}; the settings of the preset are used"
        self.set_recipe(recipe)
        if refusal:
            self.refused.emit(refusal)

    def _entered(self) -> dict[str, Any]:
        try:
            return self._entries.values()
        except SettingsError:
            return {}

    def _on_recipe(self) -> None:
        self.tasks.task.setToolTip(self._recipe.description)
        self.field_errors.clear()
        for view in self._views:
            view.mark_loaded()
        self._on_entry()

    def _on_entry(self) -> None:
        if self._showing:
            return
        self._refresh()
        self.changed.emit()

    def _refresh(self) -> None:
        basic, *advanced = self._views
        basic.refresh()
        for view in advanced:
            view.refresh(self.search.text())


def spare_threads() -> int:
    """Return the number of cores but one, which the window needs."""
    return max(1, (os.cpu_count() or 2) - 1)
