"""Options that several commands share, and their parsers."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from napari_dip.core.errors import ReadError, SettingsError
from napari_dip.io import FOLDER_SUFFIXES, read_recipe
from napari_dip.run.recipe import Quality, Recipe, all_auxiliary, list_presets

RecipeName = Annotated[
    str,
    typer.Argument(
        help="Name of a preset, a JSON file, or an earlier output whose recipe is repeated.",
        autocompletion=lambda: list(list_presets()),
    ),
]
Dtype = Literal["float32", "uint8", "uint16", "int16", "int32"]


@dataclass(frozen=True)
class SharedOptions:
    """The options of all commands that restore files, and the files of auxiliary data by name."""

    auxiliary: tuple[tuple[str, str], ...] = ()
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Image whose nonzero pixels are missing.")
    ] = None
    quality: Annotated[
        Quality | None,
        typer.Option(
            help="Instant: patches, no network; fast: a first look; best: the mean of four fits."
        ),
    ] = None
    strength: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How much of the restoration is taken; 0 gives the data."),
    ] = None
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: noise.sigma=12."),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None
    bad_flags: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Quality flags that are treated as missing, such as 1,4,4096; see info.",
        ),
    ] = None
    dtype: Annotated[
        Dtype, typer.Option(help="Data type of the output; integers are rounded and clipped.")
    ] = "float32"
    axes: Annotated[
        str | None,
        typer.Option(metavar="LETTERS", help="Axes of the input, such as TYX, if its file lacks them."),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False

    def resolve(self, name: str) -> Recipe:
        """Return the recipe `name` with what the command line changes."""
        recipe = find_recipe(name)
        if self.quality is not None:
            recipe = recipe.with_quality(self.quality)
        settings = dict(parse_change(text) for text in self.changes or [])
        for name, value in (("seed", self.seed), ("strength", self.strength)):
            settings |= {} if value is None else {name: value}
        return recipe.with_settings(settings)

    @property
    def flags(self) -> tuple[int, ...] | None:
        """The bad flags as numbers."""
        return parse_flags(self.bad_flags)


def share_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose last parameter is `options`, all fields of `SharedOptions` as options.

    There is an option for each kind of auxiliary data that an operator or a network input takes: --psf,
    --guide, --coil-maps ...
    """
    hints = get_type_hints(SharedOptions, include_extras=True)
    shared = {
        field.name: _keyword(field.name, field.default, hints[field.name])
        for field in fields(SharedOptions)
        if field.name != "auxiliary"
    }
    files = {name: _keyword(name, None, _file_option(name)) for name in all_auxiliary()}

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        given = {name: values.pop(name) for name in files}
        auxiliary = tuple((name, str(file)) for name, file in given.items() if file is not None)
        own = {name: values.pop(name) for name in shared}
        command(**values, options=SharedOptions(auxiliary, **own))

    parameters = dict(inspect.signature(command, eval_str=True).parameters)
    parameters.pop("options")
    merged = [*parameters.values(), *shared.values(), *files.values()]
    merged.sort(key=lambda parameter: parameter.kind)
    wrapper.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
    return wrapper


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _file_option(name: str) -> Any:
    spoken = {"psf": "PSF"}.get(name, name.replace("_", " "))
    help_text = f"File of the {spoken}, for recipes that take one; a[SCI] is an extension."
    return Annotated[
        Path | None, typer.Option(f"--{name.replace('_', '-')}", metavar="FILE", help=help_text)
    ]


def find_recipe(name: str) -> Recipe:
    """Return the preset `name`, or the recipe of a JSON file or of an earlier output.

    Raises
    ------
    SettingsError
        If there is no such preset, or the file is not a recipe.
    ReadError
        If there is no such file, or it has no recipe.
    """
    if name in list_presets():
        return Recipe.preset(name)
    path = Path(name)
    if path.suffix.lower() == ".json" and path.is_file():
        return Recipe.from_file(path)
    if path.is_file() or (path.is_dir() and path.name.lower().endswith(FOLDER_SUFFIXES)):
        return Recipe.from_json(read_recipe(path), source=name)
    if path.suffix:
        raise ReadError(f"there is no file {name}; presets are {', '.join(list_presets())}")
    return Recipe.preset(name)


def parse_flags(text: str | None) -> tuple[int, ...] | None:
    """Return comma-separated numbers."""
    if text is None:
        return None
    try:
        return tuple(int(flag) for flag in text.split(",") if flag.strip())
    except ValueError as error:
        raise SettingsError(
            f"--bad-flags {text}: write integers and commas, such as 1,4,4096"
        ) from error


def parse_change(text: str) -> tuple[str, Any]:
    """Return the name and the value of a changed setting, such as ``noise.sigma=12``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {text}: write it as name=value, such as noise.sigma=12")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
