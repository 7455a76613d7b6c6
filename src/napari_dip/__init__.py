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
    from napari_dip.errors import RestoreError
    from napari_dip.io import read, write
    from napari_dip.observation import Header, Observation
    from napari_dip.recipe import Recipe, presets
    from napari_dip.restoration import drain, restore
    from napari_dip.result import Iterate, Result, Wish

# Where each public name lives; it is imported when first asked for, so that importing the package
# costs nothing.
_HOME = {
    "Header": "observation",
    "Iterate": "result",
    "Observation": "observation",
    "Recipe": "recipe",
    "RestoreError": "errors",
    "Result": "result",
    "Wish": "result",
    "drain": "restoration",
    "presets": "recipe",
    "read": "io",
    "restore": "restoration",
    "write": "io",
}

__all__ = [
    "Header",
    "Iterate",
    "Observation",
    "Recipe",
    "RestoreError",
    "Result",
    "Wish",
    "__version__",
    "drain",
    "presets",
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
