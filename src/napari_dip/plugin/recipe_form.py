"""The form of a whole recipe: task and quality, what is asked of everybody, and the rest folded away."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip.errors import SettingsError
from napari_dip.plugin.form import SettingsForm
from napari_dip.plugin.scrolling_dock import calm
from napari_dip.recipe import LEVELS, Recipe, presets

COMMON = ("noise", "keep_observed", "seed")
PERSONAL = ("compute", "seed")  # what a person says for all tasks
NOT_OF_A_LEVEL = set(Recipe.model_fields) - {"network", "stopping", "solver", "ensemble"}


class RecipeForm(QWidget):  # type: ignore[misc]
    """Begins with a preset, and gives the recipe as the person left it.

    Attributes
    ----------
    rows : QFormLayout
        Task and quality; docks add their own below.
    common, advanced : SettingsForm
        New ones with every task.
    """

    changed = Signal()
    """An entry, or all of them."""
    refused = Signal(str)
    """Why entries could not be kept, as a sentence."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        self._recipe = Recipe.preset(preset)
        self.task, self.level = QComboBox(), QComboBox()
        for name in presets():
            self.task.addItem(Recipe.preset(name).title, name)
        self.task.setCurrentIndex(self.task.findData(preset))
        self.level.addItems(LEVELS)
        self.level.setCurrentText("balanced")
        self.level.setToolTip("Fast: a first look. Best: the mean of four fits, and its uncertainty.")
        self.rows = QFormLayout()
        self.rows.addRow("Task", self.task)
        self.rows.addRow("Quality", self.level)
        self._place, self._fold = QVBoxLayout(), QCollapsible("Advanced")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self.rows)
        column.addLayout(self._place)
        column.addWidget(self._fold)
        self._show()
        for choice, kept in ((self.task, PERSONAL), (self.level, NOT_OF_A_LEVEL)):
            choice.currentIndexChanged.connect(lambda _, kept=kept: self._choose(kept))

    @property
    def title(self) -> str:
        """The task's name."""
        return self._recipe.title

    def recipe(self, *, threads: int | None = None) -> Recipe:
        """The recipe as the form stands, with so many threads where the person named no number.

        Raises
        ------
        SettingsError
            If an entry is out of bounds.
        """
        entered = self._entered()
        if entered["compute"]["threads"] is None:
            entered["compute"]["threads"] = threads
        kept = self._recipe.model_dump(include={"title", "summary"})
        return Recipe.parse(kept | entered, source="settings")

    def enable(self, *, on: bool) -> None:
        """Let the person change it, or not."""
        for form in (self.common, self.advanced):
            form.enabled = on
        for choice in (self.task, self.level):
            choice.setEnabled(on)

    def _entered(self) -> dict[str, Any]:
        return {**self.common.values(), **self.advanced.values()}

    def _choose(self, kept: Collection[str]) -> None:
        """The preset of the task at the level, with what was entered in the groups that are `kept`."""
        own = {name: value for name, value in self._entered().items() if name in kept}
        preset = Recipe.preset(self.task.currentData()).at_level(self.level.currentText())
        refusal = ""
        try:
            self._recipe = Recipe.parse(preset.model_dump() | own, source="settings")
        except SettingsError as error:  # an entry that is being typed
            self._recipe, refusal = preset, f"{error}; the preset's settings were taken"
        for form in (self.common, self.advanced):
            form.native.setParent(None)
            form.native.deleteLater()
        self._show()
        self.changed.emit()
        if refusal:
            self.refused.emit(refusal)

    def _show(self) -> None:
        """The recipe as it is: the operator in sight where it is what the task is about."""
        common = COMMON if self._recipe.operator.kind == "identity" else ("operator", *COMMON)
        advanced = [name for name in Recipe.model_fields if name not in common]
        self.common = SettingsForm(Recipe, self._recipe, only=common)
        self.advanced = SettingsForm(Recipe, self._recipe, only=advanced)
        self._place.addWidget(self.common.native)
        self._fold.addWidget(self.advanced.native)
        self.task.setToolTip(self._recipe.summary)
        for form in (self.common, self.advanced):
            form.changed.connect(self.changed.emit)
        calm(self)
        self.updateGeometry()


def spare_threads() -> int:
    """All cores but one, which the window needs."""
    return max(1, (os.cpu_count() or 2) - 1)
