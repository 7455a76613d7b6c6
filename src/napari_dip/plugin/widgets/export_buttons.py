"""The row of buttons by which settings are kept: as a script, as a file, as a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QGridLayout, QInputDialog, QPushButton, QWidget

from napari_dip.core.errors import RestorationError
from napari_dip.io.atomic import atomic_write
from napari_dip.plugin import preferences as remembered
from napari_dip.run.recipe import Recipe


class ExportButtons(QWidget):  # type: ignore[misc]
    """*Copy as Python*, *Save recipe* and *Save as task*.

    Parameters
    ----------
    asked : callable
        Gives the arguments of `script`: the recipe, the layer and what goes with it.
    recipe : callable
        Gives the recipe, and the name of its preset.
    """

    message = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""
    recipe_saved = Signal()
    """There is one task more."""

    def __init__(
        self,
        asked: Callable[[], tuple[Recipe, Any, dict[str, Any]]],
        recipe: Callable[[], tuple[Recipe, str]],
    ) -> None:
        super().__init__()
        self._asked, self._recipe = asked, recipe
        self.copy_button = QPushButton("Copy as Python")
        self.save_button = QPushButton("Save recipe ...")
        self.task_button = QPushButton("Save as task ...")
        self.copy_button.setToolTip(
            "Copy a script that does what Run does, for Python or napari's console."
        )
        self.save_button.setToolTip("Write these settings to a file, for napari-dip run or a colleague.")
        self.task_button.setToolTip("Keep these settings under a name, to be found under Task.")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for place, button in enumerate((self.copy_button, self.save_button, self.task_button)):
            grid.addWidget(button, place // 2, place % 2)
        self.task_button.clicked.connect(self.save_task)
        self.copy_button.clicked.connect(self.copy_as_python)
        self.save_button.clicked.connect(self.save_recipe)

    def copy_as_python(self) -> None:
        """Put a script that does what Run would do on the clipboard."""
        from napari_dip.plugin.script import script_for

        try:
            recipe, layer, inputs = self._asked()
            QApplication.clipboard().setText(script_for(recipe, layer, **inputs))
        except RestorationError as error:
            self.message.emit(str(error), True)
        else:
            self.message.emit("Copied: a script that does what Run does.", False)

    def save_task(self) -> None:
        """Ask for a name, and keep the settings under it for this and later sessions."""
        name, agreed = QInputDialog.getText(self, "Save as task", "Name:")
        if not (agreed and name.strip()):
            return
        try:
            recipe, _ = self._recipe()
            path = remembered.save_recipe(name, recipe)
        except (RestorationError, OSError) as error:
            self.message.emit(f"The task was not saved: {error}", True)
            return
        if path is None:
            self.message.emit("napari has no folder for settings: use Save recipe instead.", True)
            return
        self.recipe_saved.emit()
        self.message.emit(f"'{path.stem}' is under Task from now on.", False)

    def save_recipe(self) -> None:
        """Ask for a file, and write the settings to it as JSON."""
        try:
            recipe, preset = self._recipe()
            name, _ = QFileDialog.getSaveFileName(
                self, "Save recipe", f"{preset}.json", "Recipe (*.json)"
            )
            if not name:
                return
            path = Path(name).with_suffix(".json")
            with atomic_write(path) as unfinished:
                unfinished.write_text(recipe.to_json(indent=2) + "\n", "utf-8")
        except (RestorationError, OSError) as error:
            self.message.emit(f"The recipe was not saved: {error}", True)
        else:
            self.message.emit(f"Saved. To repeat it: napari-dip run {path.name} INPUT OUTPUT", False)
