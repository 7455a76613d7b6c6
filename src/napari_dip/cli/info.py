"""The commands that only print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from napari_dip.cli.app import app
from napari_dip.cli.progress import out
from napari_dip.core.errors import ReadError
from napari_dip.core.settings import iter_fields
from napari_dip.io import read_images, read_recipe
from napari_dip.io.image import ImageData
from napari_dip.run.recipe import Recipe, list_presets


@app.command(name="presets")
def show_presets(
    name: Annotated[str | None, typer.Argument(help="Show every setting of this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print its JSON, to edit and run.")] = False,
) -> None:
    """List the recipes that come with napari-dip, or one with all its settings."""
    if name is None:
        table = Table("preset", "what it is for", box=None)
        for preset in list_presets():
            table.add_row(preset, Recipe.preset(preset).description)
        out.print(table)
        return
    recipe = Recipe.preset(name)
    if as_json:
        print(recipe.to_json(indent=2))
        return
    table = Table("setting", "value", "meaning", box=None)
    values = _flat(recipe.model_dump(mode="json"))
    for dotted, field in iter_fields(Recipe):
        if dotted in values:
            shown = "automatic" if values[dotted] is None else str(values[dotted])
            table.add_row(dotted, shown, (field.description or "").replace("[", r"\["))
    out.print(table)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A FITS or TIFF file.")],
) -> None:
    """Say what is in FILE: images, axes, pixel sizes, holes, noise, and our recipe if it has one."""
    for number, image in enumerate(read_images(file)):
        title = image.header.name or f"image {number}"
        out.print(f"{title}: {_facts(image)}", markup=False)
        for flag, (name, count) in (image.quality.flag_counts() if image.quality else {}).items():
            use = "a hole" if image.quality and flag in image.quality.bad else "used"
            out.print(f"  {flag} {name}: {count:,} pixels, {use}", markup=False)
    try:
        recipe = Recipe.from_json(read_recipe(file), source=str(file))
    except ReadError:
        return
    out.print(f"written by napari-dip: {recipe.title}, seed {recipe.seed}", markup=False)
    out.print(recipe.to_json(), markup=False)


def _facts(image: ImageData) -> str:
    size = " x ".join(f"{a} {n}" for a, n in zip(image.axes, image.array.shape, strict=True))
    facts = [size, str(image.array.dtype)]
    if image.header.unit:
        facts.append(f"in {image.header.unit}")
    facts += [f"{a}: {s:.6g} {u}" for a, (s, u) in image.header.pixel_size.items()]
    if image.header.channels:
        facts.append("channels " + ", ".join(image.header.channels))
    holes = image.mask
    facts.append(f"{0 if holes is None else int(holes.sum()):,} holes")
    if image.sigma is not None:
        facts.append("with an error plane")
    return ", ".join(facts)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
