"""Restore one scientific image with nothing but itself: deep image priors, in napari and without.

Examples
--------
>>> from napari_dip import Observation, Recipe, drain, read, restore, write
>>> observation = read("frame.fits")  # doctest: +SKIP
>>> result = drain(restore(Recipe.preset("denoise"), observation))  # doctest: +SKIP
>>> write("restored.fits", result)  # doctest: +SKIP
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dip.core.errors import RestorationError
    from napari_dip.core.header import Header
    from napari_dip.core.observation import Observation
    from napari_dip.core.progress import Progress, Request
    from napari_dip.core.result import Result
    from napari_dip.io import read, write
    from napari_dip.run.recipe import Recipe, list_presets
    from napari_dip.run.restoration import drain, restore

# Where each public name lives; it is imported when first asked for, so that importing the package
# costs nothing.
_HOME = {
    "Header": "core.header",
    "Iterate": "core.progress",
    "Observation": "core.observation",
    "Recipe": "run.recipe",
    "RestoreError": "core.errors",
    "Result": "core.result",
    "Wish": "core.progress",
    "drain": "run.restoration",
    "presets": "run.recipe",
    "read": "io.files",
    "restore": "run.restoration",
    "write": "io.files",
}

__all__ = [
    "Header",
    "Observation",
    "Progress",
    "Recipe",
    "Request",
    "RestorationError",
    "Result",
    "__version__",
    "drain",
    "list_presets",
    "read",
    "restore",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("napari-dip")
    if name not in _HOME:
        raise AttributeError(f"module 'napari_dip' has no attribute '{name}'")
    value = getattr(import_module(f"napari_dip.{_HOME[name]}"), name)
    globals()[name] = value
    return value
