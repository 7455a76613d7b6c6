"""What is remembered from one day to the next: preferences, saved presets, the last run's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from napari.settings import get_plugin_settings, get_settings

from napari_dip.io.atomic import atomic_write
from napari_dip.run.recipe import Quality, Recipe

LAST_RUN = "as in the last run"


def saved_recipes() -> dict[str, Path]:
    """The recipes that were saved, and that of the last run, by name."""
    folder = _folder()
    found = folder.glob("*.json") if folder else ()
    return {
        path.stem: path for path in sorted(found, key=lambda path: (path.stem != LAST_RUN, path.stem))
    }


def save_recipe(name: str, recipe: Recipe) -> Path | None:
    """Keep `recipe` under `name`, less what a file name cannot hold; None where there is no place.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder = _folder()
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    plain = re.sub(r"[^\w .()+-]", "_", name).strip(" .") or "preset"
    path = folder / f"{plain}.json"
    with atomic_write(path) as unfinished:
        unfinished.write_text(recipe.to_json(indent=2) + "\n", "utf-8")
    return path


def compute_settings() -> dict[str, Any]:
    """What napari's preferences say of device and memory, as settings by their names."""
    told = preferences().computing
    memory = {"compute.memory_limit_gb": told.memory} if told.memory else {}
    return {"compute.device": str(getattr(told.device, "value", told.device)), **memory}


def default_quality() -> Quality:
    """The level that a dock opens with."""
    told = preferences().beginning.quality
    return cast(Quality, str(getattr(told, "value", told)))


def preferences() -> Any:
    """The plugin's page of napari's preferences."""
    return get_plugin_settings("napari-dip")


def _folder() -> Path | None:
    """Beside napari's own settings; None where it has none."""
    settings = get_settings().config_path
    return Path(settings).parent / "napari-dip presets" if settings else None
