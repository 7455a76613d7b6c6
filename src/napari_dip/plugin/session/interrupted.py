"""Runs that ended with napari: what is kept of them, until they are resumed or discarded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from napari_dip.core.errors import SettingsError
from napari_dip.plugin.layers.metadata import MASK, NOISE
from napari_dip.plugin.preferences import checkpoints_folder
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.layers import Image, Layer

DESCRIPTION = "run.json"  # file in the folder of a checkpoint


@dataclass(frozen=True)
class InterruptedRun:
    """A run that nobody has ended.

    Attributes
    ----------
    folder : Path
        What is kept of it.
    recipe : Recipe
        What was done.
    path, layer : str
        The file of the image, empty if it was from none, and the name of its layer.
    inputs : dict of str to str
        The names of the layers that belong to it, by their role, such as "mask".
    time : datetime
        When it was last kept.
    """

    folder: Path
    recipe: Recipe
    path: str
    layer: str
    inputs: dict[str, str]
    time: datetime

    @property
    def title(self) -> str:
        """What was done to which image, and when, in words."""
        today = datetime.now().astimezone().date()
        time = f"{self.time:%H:%M}" if self.time.date() == today else f"{self.time:%Y-%m-%d %H:%M}"
        return f"{self.recipe.title}, {Path(self.path).name or self.layer}, {time}"

    def is_of(self, layer: Layer) -> bool:
        """Whether `layer` is the image that was restored."""
        return (layer.name, str(layer.source.path or "")) == (self.layer, self.path)

    def discard(self) -> None:
        """Remove what is kept of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def describe_run(
    recipe: Recipe, layer: Image, inputs: Mapping[str, Any], frames: Sequence[Image]
) -> str:
    """Return what `find_interrupted` needs to know of a run, as JSON."""
    layers = {MASK: inputs["mask"], NOISE: inputs["sigma"], **(inputs["auxiliary"] or {})}
    names = {role: source.name for role, source in layers.items() if source is not None}
    description = {
        "pid": os.getpid(),
        "recipe": recipe.model_dump(mode="json"),
        "path": str(layer.source.path or ""),
        "layer": layer.name,
        "inputs": names | ({"exposures": ""} if frames else {}),
    }
    return json.dumps(description)


def find_interrupted() -> InterruptedRun | None:
    """Return the last run whose process has gone, if any."""
    parent = checkpoints_folder()
    if parent is None or not parent.is_dir():
        return None
    found = [run for path in parent.glob(f"*/{DESCRIPTION}") if (run := _read(path)) is not None]
    return max(found, key=lambda run: run.time, default=None)


def _read(path: Path) -> InterruptedRun | None:
    """The run that a description is of; None if its process is alive or it cannot be read."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if psutil.pid_exists(values["pid"]):
            return None
        return InterruptedRun(
            path.parent,
            Recipe.parse(values["recipe"], source="the interrupted run"),
            values["path"],
            values["layer"],
            dict(values["inputs"]),
            datetime.fromtimestamp(path.parent.stat().st_mtime).astimezone(),
        )
    except (OSError, ValueError, KeyError, TypeError, SettingsError):
        return None
