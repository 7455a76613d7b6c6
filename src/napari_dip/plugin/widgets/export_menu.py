"""The menu *Save as*: the settings as a script, as a file, or as a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMenu, QPushButton

from napari_dip.core.errors import RestorationError
from napari_dip.plugin import preferences
from napari_dip.run.recipe import Recipe


class ExportMenu(QMenu):  # type: ignore[misc]
    """*Copy as Python*, *Save recipe* and *Save as task*, as the menu of `button`.

    Parameters
    ----------
    collect : callable
        Returns the arguments of `script_for`: the recipe, the layer and its other inputs.
    current_recipe : callable
        Returns the recipe and the title of its task.
    """

    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""
    recipe_saved = Signal()
    """There is a new task."""

    def __init__(
        self,
        collect: Callable[[], tuple[Recipe, Any, dict[str, Any]]],
        current_recipe: Callable[[], tuple[Recipe, str]],
    ) -> None:
        super().__init__()
        self._collect, self._current_recipe = collect, current_recipe
        self.copy_action = self.addAction("Copy as Python", self.copy_as_python)
        self.save_action = self.addAction("Save recipe ...", self.save_recipe)
        self.task_action = self.addAction("Save as task ...", self.save_task)
        self.copy_action.setToolTip(
            "Copy a script that does the same as Run, for Python or the console of napari."
        )
        self.save_action.setToolTip(
            "Write these settings to a file, for napari-dip run or to share with others."
        )
        self.task_action.setToolTip("Save these settings under a name, which is listed among the tasks.")
        self.setToolTipsVisible(True)
        self.button = QPushButton("Save as")
        self.button.setMenu(self)

    def copy_as_python(self) -> None:
        """Copy a script that does the same as Run to the clipboard."""
        from napari_dip.plugin.script import script_for

        try:
            recipe, layer, inputs = self._collect()
            QApplication.clipboard().setText(script_for(recipe, layer, **inputs))
        except RestorationError as error:
            self.message.emit(str(error), True)
        else:
            self.message.emit("Copied a script that does the same as Run.", False)

    def save_task(self) -> None:
        """Ask for a name, and save the settings under it for this and later sessions."""
        name, ok = QInputDialog.getText(self, "Save as task", "Name:")
        if not (ok and name.strip()):
            return
        try:
            recipe, _ = self._current_recipe()
            path = preferences.save_recipe(name, recipe)
        except (RestorationError, OSError) as error:
            self.message.emit(f"The task was not saved: {error}", True)
            return
        if path is None:
            self.message.emit("napari has no folder for settings: use Save recipe instead.", True)
            return
        self.recipe_saved.emit()
        self.message.emit(f"'{path.stem}' is now listed among the tasks.", False)

    def save_recipe(self) -> None:
        """Ask for a file, and write the settings to it as JSON."""
        try:
            recipe, title = self._current_recipe()
            name, _ = QFileDialog.getSaveFileName(
                self, "Save recipe", f"{title}.json", "Recipe (*.json)"
            )
            if not name:
                return
            path = Path(name if name.lower().endswith(".json") else f"{name}.json")
            preferences.write_recipe(path, recipe)
        except (RestorationError, OSError) as error:
            self.message.emit(f"The recipe was not saved: {error}", True)
        else:
            self.message.emit(f"Saved. To repeat it: napari-dip run {path.name} INPUT OUTPUT", False)
