"""The commands that only print."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from napari_dip.cli.app import app, out, print_json
from napari_dip.core.errors import ReadError, ReadWarning, SettingsError
from napari_dip.core.settings import Settings, ordered_fields
from napari_dip.io import ImageData, read_images, read_recipe
from napari_dip.run.recipe import Recipe, list_presets


@app.command(name="presets")
def show_presets(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show all settings of this preset.", autocompletion=lambda: list(list_presets())
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, to edit and run.")] = False,
) -> None:
    """List the presets, or one of them with all its settings."""
    if name is None:
        table = Table("preset", "purpose", box=None)
        for preset in list_presets():
            table.add_row(preset, Recipe.preset(preset).description)
        out.print(table)
        return
    recipe = Recipe.preset(name)
    if as_json:
        print(recipe.to_json(indent=2))
        return
    table = Table("setting", "value", "meaning", box=None)
    for dotted, value, description in _iter_settings(recipe):
        shown = "automatic" if value is None else str(value)
        table.add_row(dotted, shown, description.replace("[", r"\["))
    out.print(table)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A FITS or TIFF file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Describe FILE: images, axes, pixel sizes, missing pixels, noise, and the recipe that made it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadWarning)  # they are printed below
        images = read_images(file)
    if as_json:
        print_json(
            {
                "file": str(file),
                "images": [_facts(image) for image in images],
                "recipe": _recipe_values(file),
            }
        )
        return
    for number, image in enumerate(images):
        title = image.header.name or f"image {number}"
        out.print(f"{title}: {_describe(image)}", markup=False)
        for flag, (name, count) in (image.quality.flag_counts() if image.quality else {}).items():
            use = "missing" if image.quality and flag in image.quality.bad else "used"
            out.print(f"  {flag} {name}: {count:,} pixels, {use}", markup=False)
        for remark in image.header.remarks:
            out.print(f"  note: {remark}", markup=False)
    try:
        recipe = Recipe.from_json(read_recipe(file), source=str(file))
    except ReadError:
        return
    except SettingsError as error:
        out.print(f"written by another version of napari-dip: {error}", markup=False)
        return
    out.print(f"written by napari-dip: {recipe.title}, seed {recipe.seed}", markup=False)
    out.print(recipe.to_json(), markup=False)


def _facts(image: ImageData) -> dict[str, Any]:
    mask, quality = image.mask, image.quality
    flags = quality.flag_counts() if quality else {}
    return {
        "name": image.header.name,
        "axes": image.axes,
        "shape": list(image.array.shape),
        "dtype": str(image.array.dtype),
        "unit": image.header.unit,
        "pixel_size": dict(image.header.pixel_size),
        "channels": list(image.header.channels),
        "missing": 0 if mask is None else int(mask.sum()),
        "has_error_plane": image.sigma is not None,
        "flags": [
            {"value": int(flag), "name": name, "pixels": int(count), "is_bad": flag in quality.bad}
            for flag, (name, count) in flags.items()
            if quality
        ],
        "remarks": list(image.header.remarks),
    }


def _recipe_values(file: Path) -> Any:
    try:
        return json.loads(read_recipe(file))
    except ReadError:
        return None


def _describe(image: ImageData) -> str:
    size = " x ".join(f"{a} {n}" for a, n in zip(image.axes, image.array.shape, strict=True))
    facts = [size, str(image.array.dtype)]
    if image.header.unit:
        facts.append(f"in {image.header.unit}")
    facts += [f"{a}: {s:.6g} {u}" for a, (s, u) in image.header.pixel_size.items()]
    if image.header.channels:
        facts.append("channels " + ", ".join(image.header.channels))
    mask = image.mask
    facts.append(f"{0 if mask is None else int(mask.sum()):,} missing")
    if image.sigma is not None:
        facts.append("with an error plane")
    return ", ".join(facts)


def _iter_settings(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each setting as (dotted name, value, description), those of the selected kinds only."""
    for name, field in ordered_fields(type(settings)).items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from _iter_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""
