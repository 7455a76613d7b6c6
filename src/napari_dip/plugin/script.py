"""The current settings of the dock as Python code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_dip.core.errors import ObservationError, RestorationError
from napari_dip.io import read
from napari_dip.plugin.layers.mask_on_grid import DRAWN
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
    mask: Labels | None = None,
    sigma: Image | None = None,
    auxiliary: Mapping[str, Layer] | None = None,
) -> str:
    """Return Python code that restores `layer` by `recipe`.

    It reads the file of the layer if that has the same pixels, mask and noise; otherwise it uses the
    layers, in napari's console.

    Raises
    ------
    ObservationError
        If the mask is not a layer of pixels that the console has.
    """
    if mask is not None and DRAWN in mask.metadata.get(METADATA_KEY, {}):
        raise ObservationError(
            f"the mask '{mask.name}' is drawn, or lies on other pixels than the image: convert it to a"
            " Labels layer on the image first"
        )
    path = None if frames or auxiliary else _source_file(layer, axes, mask, sigma)
    lines = ["import napari_dip as dip", "", f"recipe = {_expression(recipe)}"]
    if path is not None:
        source = Path(path.partition("[")[0])
        output = str(source.with_name(f"{source.name.partition('.')[0]} restored{source.suffix}"))
        lines += [f"result = dip.restore({path!r}, recipe)", "print(result.summary)"]
        return "\n".join([*lines, f"dip.write({output!r}, result)", ""])
    console = "# For napari's console, with the same layers open."
    observation = _observation_lines(layer, axes, frames, mask, sigma, auxiliary)
    name = layer.name + " [restored]"
    lines += [*observation, "result = dip.restore(observation, recipe)", "print(result.summary)"]
    return "\n".join([console, *lines, f"viewer.add_image(result.image, name={name!r})", ""])


def _observation_lines(
    layer: Image,
    axes: str,
    frames: Sequence[Image],
    mask: Labels | None,
    sigma: Image | None,
    auxiliary: Mapping[str, Layer] | None,
) -> list[str]:
    """Code that makes the observation of the layers."""

    def reference(other: Layer) -> str:
        return f"viewer.layers[{other.name!r}]"

    layers = {"mask": mask, "sigma": sigma}
    options = [f"{name}={reference(other)}" for name, other in layers.items() if other is not None]
    if auxiliary:
        items = ", ".join(f"{name!r}: {reference(other)}" for name, other in auxiliary.items())
        options.append(f"auxiliary={{{items}}}")
    if frames:
        stack = ", ".join(reference(other) for other in (layer, *frames))
        function, arguments = "observation_from_layers", [f"[{stack}]", "viewer.layers", *options]
    else:
        function, arguments = "observation_from_layer", [reference(layer), f"axes={axes!r}", *options]
    return [
        f"from napari_dip.plugin.layers.to_observation import {function}",
        f"observation = {function}({', '.join(arguments)})",
    ]


def _source_file(layer: Image, axes: str, mask: Labels | None, sigma: Image | None) -> str | None:
    """The file of the layer, with the image in brackets, if it has the same data as the layers."""
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    if header is None or not header.path or axes != axes_of(layer):
        return None
    path = os.fspath(Path(header.path).absolute())
    if header.hdu:
        path += f"[{header.hdu}]"
    try:
        observation = observation_from_layer(layer, axes=axes, mask=mask, sigma=sigma)
        return path if read(path).digest() == observation.digest() else None
    except (RestorationError, MemoryError):
        return None


def _expression(recipe: Recipe) -> str:
    """The shortest expression that is `recipe`."""
    target = recipe.model_dump(mode="json")
    expressions = []
    for name in list_presets():
        for quality in QUALITIES:
            start = Recipe.preset(name).with_quality(quality)
            changes = _changes(start.model_dump(mode="json"), target)
            if start.with_settings(changes) != recipe:
                continue
            for setting in [name for name in changes if not name.endswith("kind")]:
                fewer = {key: value for key, value in changes.items() if key != setting}
                if start.with_settings(fewer) == recipe:  # it is the default of a changed kind
                    changes = fewer
            with_quality = "" if quality == "balanced" else f".with_quality({quality!r})"
            with_settings = f".with_settings({changes})" if changes else ""
            expressions.append(f"dip.Recipe.preset({name!r}){with_quality}{with_settings}")
    return min(expressions, key=len, default=f"dip.Recipe.from_json({recipe.to_json()!r})")


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of `after` that differ, by dotted names."""
    if "kind" in after and before.get("kind") != after["kind"]:
        before = {}
    changes: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, Mapping):
            changes |= _changes(before.get(name, {}), value, f"{prefix}{name}.")
        elif name not in before or before[name] != value:
            changes[f"{prefix}{name}"] = value
    return changes
