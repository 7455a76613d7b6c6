"""What the dock is about to do, as a script that does the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_dip.core.errors import RestorationError
from napari_dip.io import read
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of
from napari_dip.plugin.layers.to_observation import observation_from_layer
from napari_dip.run.recipe import QUALITIES, Recipe, list_presets

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer


def script_for(
    recipe: Recipe,
    layer: Image,
    *,
    axes: str,
    frames: Sequence[Image] = (),
    holes: Labels | None = None,
    sigma: Image | None = None,
    extras: Mapping[str, Layer] | None = None,
) -> str:
    """Lines of Python that restore `layer` by `recipe`.

    They read the layer's file where that has the same pixels, holes and noise as the layers; else they
    take the layers, in napari's console.
    """
    observation, where, out = _from_layers(layer, axes, frames, holes, sigma, extras), "layers", ""
    if not frames and not extras:
        path = _source_file(layer, axes, holes, sigma)
        if path is not None:
            observation, where = f"observation = read({path!r})\n", "file"
            name = Path(path.partition("[")[0])
            out = str(name.with_name(f"{name.name.partition('.')[0]} restored{name.suffix}"))
    names = "Recipe, drain, read, restore, write" if where == "file" else "Recipe, drain, restore"
    end = (
        f"write({out!r}, result)\n" if where == "file" else f"viewer.add_image({_result_layer(layer)})\n"
    )
    first = "" if where == "file" else "# For napari's console, with the same layers open.\n"
    return (
        f"{first}from napari_dip import {names}\n\n"
        f"recipe = {_expression(recipe)}\n"
        f"{observation}"
        "result = drain(restore(recipe, observation))\n"
        "print(result.verdict)\n"
        f"{end}"
    )


def _result_layer(layer: Image) -> str:
    return f"result.image, name={layer.name + ' - restored'!r}"


def _from_layers(
    layer: Image,
    axes: str,
    frames: Sequence[Image],
    holes: Labels | None,
    sigma: Image | None,
    extras: Mapping[str, Layer] | None,
) -> str:
    def called(one: Layer) -> str:
        return f"viewer.layers[{one.name!r}]"

    companions = {"holes": holes, "sigma": sigma}
    given = [f"{name}={called(one)}" for name, one in companions.items() if one is not None]
    if extras:
        given.append(
            "extras={" + ", ".join(f"{name!r}: {called(one)}" for name, one in extras.items()) + "}"
        )
    if frames:
        stack = ", ".join(called(one) for one in (layer, *frames))
        function, arguments = "observation_of_frames", [f"[{stack}]", "viewer.layers", *given]
    else:
        function, arguments = "observation_of", [called(layer), f"axes={axes!r}", *given]
    return (
        f"from napari_dip.plugin.layers.to_observation import {function}\n"
        f"observation = {function}({', '.join(arguments)})\n"
    )


def _source_file(layer: Image, axes: str, holes: Labels | None, sigma: Image | None) -> str | None:
    """The layer's file, and in brackets which of its images, if a run would be given the same by it."""
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    if header is None or not header.path or axes != axes_of(layer):
        return None
    path = os.fspath(Path(header.path).absolute())
    if header.hdu:
        path += f"[{header.hdu}]"
    try:
        seen = observation_from_layer(layer, axes=axes, mask=holes, sigma=sigma)
        return path if read(path).digest() == seen.digest() else None
    except (RestorationError, MemoryError):
        return None


def _expression(recipe: Recipe) -> str:
    """The shortest expression that is `recipe`."""
    wanted = recipe.model_dump(mode="json")
    found = []
    for name in list_presets():
        for level in QUALITIES:
            start = Recipe.preset(name).with_quality(level)
            changes = _changes(start.model_dump(mode="json"), wanted)
            if start.with_settings(changes) == recipe:
                for setting in [name for name in changes if not name.endswith("kind")]:
                    fewer = {key: value for key, value in changes.items() if key != setting}
                    if start.with_settings(fewer) == recipe:  # the kind brings it along
                        changes = fewer
                leveled = "" if level == "balanced" else f".at_level({level!r})"
                changed = f".override({changes})" if changes else ""
                found.append(f"Recipe.preset({name!r}){leveled}{changed}")
    return min(found, key=len, default=f"Recipe.from_json({recipe.to_json()!r})")


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings of `after` that differ, by their dotted names."""
    if "kind" in after and before.get("kind") != after["kind"]:
        before = {}
    changes: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, Mapping):
            changes |= _changes(before.get(name, {}), value, f"{prefix}{name}.")
        elif name not in before or before[name] != value:
            changes[f"{prefix}{name}"] = value
    return changes
