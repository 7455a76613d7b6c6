"""What is kept between sessions: preferences, saved recipes and the settings of the last run."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from napari.settings import get_settings
from platformdirs import user_cache_path

from napari_dip.io.atomic import atomic_write
from napari_dip.run.recipe import Quality, Recipe

LAST_RUN = "last run"  # name of the recipe that every run saves


def saved_recipes() -> dict[str, Path]:
    """Return the files of the saved recipes by name, that of the last run first."""
    folder = _folder()
    paths = sorted(folder.glob("*.json") if folder else (), key=lambda p: (p.stem != LAST_RUN, p.stem))
    return {path.stem: path for path in paths}


def save_recipe(name: str, recipe: Recipe) -> Path | None:
    """Save `recipe` under `name`, and return its file; None where napari has no settings folder.

    Characters that a file name cannot have are replaced.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    folder = _folder()
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w .()+-]", "_", name).strip(" .") or "preset"
    path = folder / f"{stem}.json"
    write_recipe(path, recipe)
    return path


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write `recipe` to a JSON file.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text(recipe.to_json(indent=2) + "\n", "utf-8")


def compute_settings() -> dict[str, Any]:
    """Return the preferences for device and memory as settings, by their dotted names."""
    compute = preferences().compute
    memory = {"compute.memory_limit_gb": compute.memory_limit} if compute.memory_limit else {}
    return {"compute.device": str(getattr(compute.device, "value", compute.device)), **memory}


def default_quality() -> Quality:
    """Return the quality that a dock opens with."""
    quality = preferences().startup.quality
    return cast(Quality, str(getattr(quality, "value", quality)))


def preferences() -> Any:
    """Return the plugin's page of napari's preferences; their defaults where napari, before 0.9.1, has
    no pages of plugins.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return _defaults()
    return get_plugin_settings("napari-dip")


@cache
def _defaults() -> Any:
    from npe2 import PluginManifest

    groups = PluginManifest.from_distribution("napari-dip").contributions.configurations or {}
    return SimpleNamespace(
        **{
            name: SimpleNamespace(**{key: value.default for key, value in group.properties.items()})
            for name, group in groups.items()
        }
    )


def checkpoints_folder() -> Path | None:
    """Return the folder of what is kept of runs; None where napari keeps no settings either."""
    if not _folder():
        return None
    return user_cache_path("napari-dip", appauthor=False, ensure_exists=True) / "checkpoints"


def _folder() -> Path | None:
    """Return the folder of saved recipes, next to napari's settings; None where it has none."""
    settings = get_settings().config_path
    return Path(settings).parent / "napari-dip presets" if settings else None
