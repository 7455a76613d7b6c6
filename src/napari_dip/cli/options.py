"""Options that several commands share, and their parsers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_dip.core.errors import ReadError, SettingsError
from napari_dip.io import read_recipe
from napari_dip.run.recipe import Quality, Recipe, list_presets

RecipeName = Annotated[
    str, typer.Argument(help="A preset's name, a JSON file, or an earlier output to repeat.")
]


MaskFile = Annotated[
    Path | None, typer.Option(help="An image of what is missing: anything but 0 is a hole.")
]


Companions = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME=FILE", help="What else the recipe needs: psf=star.fits."),
]


Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: noise.sigma=12."),
]


QualityOption = Annotated[
    Quality | None, typer.Option(help="Fast for a first look, best for the mean of four fits.")
]


BadFlags = Annotated[
    str | None,
    typer.Option(
        metavar="N,N",
        help="Flags of the quality plane that are holes, such as 1,4,4096; info lists them.",
    ),
]


Pixels = Literal["float32", "uint8", "uint16", "int16", "int32"]


Dtype = Annotated[
    Pixels, typer.Option("--as", help="Type of the pixels; whole numbers are rounded and clipped.")
]


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]


Seed = Annotated[int | None, typer.Option(help="Seed of every random number.")]


def resolve_recipe(
    name: str, level: Quality | None, changes: list[str] | None, seed: int | None
) -> Recipe:
    recipe = find_recipe(name)
    if level is not None:
        recipe = recipe.with_quality(level)
    settings = dict(parse_change(text) for text in changes or [])
    return recipe.with_settings(settings if seed is None else settings | {"seed": seed})


def find_recipe(name: str) -> Recipe:
    if name in list_presets():
        return Recipe.preset(name)
    path = Path(name)
    if path.suffix.lower() == ".json" and path.is_file():
        return Recipe.from_file(path)
    if path.is_file():
        return Recipe.from_json(read_recipe(path), source=name)
    if path.suffix:
        raise ReadError(f"there is no file {name}; the presets are {', '.join(list_presets())}")
    return Recipe.preset(name)


def parse_auxiliary(texts: list[str] | None) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts or []:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            raise SettingsError(f"--with {text}: write it as name=file, such as psf=star.fits")
        pairs.append((name, file))
    return tuple(pairs)


def parse_flags(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(flag) for flag in text.split(",") if flag.strip())
    except ValueError as error:
        raise SettingsError(
            f"--flags {text}: write whole numbers and commas, such as 1,4,4096"
        ) from error


def parse_change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {text}: write it as name=value, such as noise.sigma=12")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
