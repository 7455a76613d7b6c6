"""The choice of a task and of a quality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QComboBox

from napari_dip.plugin import preferences
from napari_dip.run.recipe import QUALITIES, Recipe, list_presets

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
        with _blocked(self.task):
            selected = self.task.currentData()
            self.task.clear()
            for name in list_presets():
                self.task.addItem(Recipe.preset(name).title, name)
            if saved := preferences.saved_recipes():
                self.task.insertSeparator(self.task.count())
            for name, path in saved.items():
                self.task.addItem(name, path)
            self.task.setCurrentIndex(self.task.findData(selected))

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

    def _on_task(self) -> None:
        if self.task.currentData() is None:  # the separator
            return
        self._offer_saved_settings(is_offered=self.preset is None)
        self.task_changed.emit()

    def _offer_saved_settings(self, *, is_offered: bool) -> None:
        """Add a quality with all the settings of a saved recipe, and select it; or remove it."""
        with _blocked(self.quality):
            index = self.quality.findText(SAVED_SETTINGS)
            if is_offered and index < 0:
                self.quality.addItem(SAVED_SETTINGS)
            if is_offered:
                self.quality.setCurrentText(SAVED_SETTINGS)
            elif index >= 0:
                if self.quality.currentIndex() == index:
                    self.quality.setCurrentText("balanced")
                self.quality.removeItem(index)


@contextmanager
def _blocked(combo: QComboBox) -> Iterator[None]:
    blocked = combo.blockSignals(True)
    yield
    combo.blockSignals(blocked)
