"""The choice of a task and of a quality."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_dip.plugin import preferences
from napari_dip.run.recipe import QUALITIES, Recipe, list_presets

FIRST_CATEGORIES = ("Denoise", "Fill", "Sharpen", "Combine", "Stacks and time", "MRI")
SAVED_SETTINGS = "saved settings"  # a quality that saved recipes have besides the usual three


class TaskSelector:
    """Two combo boxes: the task, which is a preset or a saved recipe, and the quality.

    Attributes
    ----------
    task, quality : QComboBox
        Their data are preset names or paths of saved recipes, and nothing.
    """

    task_changed = Signal()
    quality_changed = Signal()

    def __init__(self, preset: str) -> None:
        self.task, self.quality = QComboBox(), QComboBox()
        self.refresh()
        self.task.setCurrentIndex(self.task.findData(preset))
        self.quality.addItems(QUALITIES)
        self.quality.setCurrentText(preferences.default_quality())
        self.quality.setToolTip(
            "Instant: patches only, no network. Fast: a quick look. Balanced: the default. Best: the"
            " mean of four fits, with an uncertainty."
        )
        self.task.currentIndexChanged.connect(self._on_task)
        self.quality.currentIndexChanged.connect(lambda _: self.quality_changed.emit())

    def refresh(self) -> None:
        """List the presets, the saved recipes, and the settings of the last run."""
        with signals_blocked(self.task):
            selected = self.task.currentData()
            self.task.clear()
            for category, presets in _presets_by_category().items():
                self._add_heading(category)
                for name, title in presets.items():
                    self.task.addItem(title, name)
            if saved := preferences.saved_recipes():
                self._add_heading("Your own")
            for name, path in saved.items():
                self.task.addItem(name, path)
            self.task.setCurrentIndex(self.task.findData(selected))

    def show(self, recipe: Recipe) -> None:
        """Select the task of a recipe, and the quality that it has, or nearly has."""
        with signals_blocked(self.task), signals_blocked(self.quality):
            for name in list_presets():
                if (preset := Recipe.preset(name)).title == recipe.title:
                    self.task.setCurrentIndex(self.task.findData(name))
                    self._offer_saved_settings(is_offered=False)
                    near = {q: _count_differences(recipe, preset.with_quality(q)) for q in QUALITIES}
                    self.quality.setCurrentText(min(QUALITIES, key=lambda q: near[q]))

    @property
    def preset(self) -> str | None:
        """Name of the selected preset; None for a saved recipe."""
        selected = self.task.currentData()
        return selected if selected in list_presets() else None

    @property
    def saved_recipe(self) -> Path | None:
        """File of the selected recipe, where all of its settings are to be used."""
        path: Path | None = self.task.currentData()
        return path if self.quality.currentText() == SAVED_SETTINGS else None

    def _add_heading(self, text: str) -> None:
        """Add an entry that cannot be selected."""
        self.task.addItem(text)
        item = self.task.model().item(self.task.count() - 1)
        item.setEnabled(False)
        font = item.font()
        font.setBold(True)
        item.setFont(font)

    def _on_task(self) -> None:
        if self.task.currentData() is None:  # a heading
            return
        self._offer_saved_settings(is_offered=self.preset is None)
        self.task_changed.emit()

    def _offer_saved_settings(self, *, is_offered: bool) -> None:
        """Add a quality with all the settings of a saved recipe, and select it; or remove it."""
        with signals_blocked(self.quality):
            index = self.quality.findText(SAVED_SETTINGS)
            if is_offered and index < 0:
                self.quality.addItem(SAVED_SETTINGS)
            if is_offered:
                self.quality.setCurrentText(SAVED_SETTINGS)
            elif index >= 0:
                if self.quality.currentIndex() == index:
                    self.quality.setCurrentText("balanced")
                self.quality.removeItem(index)


def _count_differences(recipe: Recipe, other: Recipe) -> int:
    """How many settings differ."""
    one, two = recipe.model_dump(), other.model_dump()
    groups = [(one[name], two[name]) for name in one if isinstance(one[name], dict)]
    return sum(mine[key] != theirs.get(key) for mine, theirs in groups for key in mine)


def _presets_by_category() -> dict[str, dict[str, str]]:
    """The names and titles of the presets, under their headings."""
    groups: dict[str, dict[str, str]] = {category: {} for category in FIRST_CATEGORIES}
    for name in list_presets():
        recipe = Recipe.preset(name)
        groups.setdefault(recipe.category, {})[name] = recipe.title
    return groups
