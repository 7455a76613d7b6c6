"""The command line: run, batch, presets, info, demo."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from napari_dip.batch import (
    SUMMARY,
    Job,
    Row,
    batch,
    dask_workers,
    jobs_for,
    local_workers,
    write_summary,
)
from napari_dip.errors import ReadError, RestoreError, SettingsError, WriteError
from napari_dip.io import first_image, images, recipe_of, write
from napari_dip.io.file_image import FileImage
from napari_dip.observation import Observation
from napari_dip.recipe import Level, Recipe, presets
from napari_dip.result import Result, Wish
from napari_dip.settings import walk

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Restore one scientific image with nothing but itself: deep image priors.",
)
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; a failure is one sentence and exit status 2."""
    try:
        app()
    except RestoreError as error:
        _fail(str(error))
    except MemoryError:
        _fail("the memory is full: restore a smaller crop, or close other programs")


def _fail(sentence: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"napari-dip: {sentence}", markup=False)
    sys.exit(2)


RecipeName = Annotated[
    str, typer.Argument(help="A preset's name, a JSON file, or an earlier output to repeat.")
]
Holes = Annotated[
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
AtLevel = Annotated[
    Level | None, typer.Option(help="Fast for a first look, best for the mean of four fits.")
]
Quality = Annotated[
    str | None,
    typer.Option(
        metavar="N,N",
        help="Flags of the quality plane that are holes, such as 1,4,4096; info lists them.",
    ),
]
Pixels = Literal["float32", "uint8", "uint16", "int16", "int32"]
Kind = Annotated[
    Pixels, typer.Option("--as", help="Type of the pixels; whole numbers are rounded and clipped.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random number.")]


@app.command()
def run(
    recipe: RecipeName,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="A FITS or TIFF file; several become frames along T."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The FITS or TIFF file to write.")],
    holes: Holes = None,
    companions: Companions = None,
    level: AtLevel = None,
    changes: Changes = None,
    seed: Seed = None,
    flags: Quality = None,
    kind: Kind = "float32",
    imagej: Annotated[bool, typer.Option("--imagej", help="Write ImageJ's own TIFF.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Restore INPUT by RECIPE and write OUTPUT. Ctrl-C finishes early and keeps what is there.

    A file may be followed by the name of its extension, in brackets: psf=frame.fits[PSF].
    """
    chosen = _recipe(recipe, level, changes, seed)
    job = Job(
        tuple(sources),
        str(target),
        chosen.to_json(),
        None if holes is None else str(holes),
        _companions(companions),
        overwrite,
        _flags(flags),
        kind,
        imagej,
    )
    job.check()
    result = _watched(chosen, job.observation())
    clipped = write(target, result, overwrite=overwrite, dtype=kind, imagej=imagej)
    out.print(result.verdict, markup=False)
    stored = "" if kind == "float32" else f", as {kind}: {100 * clipped:.3g} % of the pixels clipped"
    out.print(f"written: {target}{stored}", markup=False)


@app.command(name="batch")
def run_batch(
    recipe: RecipeName,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="FITS and TIFF files, and folders of them."),
    ],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")],
    workers: Annotated[
        int, typer.Option(min=1, help="How many are restored at a time on this machine.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A dask scheduler whose workers do it: tcp://host:8786."),
    ] = None,
    holes: Holes = None,
    companions: Companions = None,
    level: AtLevel = None,
    changes: Changes = None,
    seed: Seed = None,
    flags: Quality = None,
    kind: Kind = "float32",
    overwrite: Overwrite = False,
) -> None:
    """Restore each INPUT on its own by RECIPE, into DIR under its own name, and write a summary.

    What is there already, of the same recipe and the same data, is skipped: after an interruption run
    the same line again.
    """
    jobs = jobs_for(
        _recipe(recipe, level, changes, seed),
        inputs,
        folder,
        holes=None if holes is None else str(holes),
        companions=_companions(companions),
        overwrite=overwrite,
        flags=_flags(flags),
        dtype=kind,
    )
    at_once = workers if scheduler is None else len(jobs)
    engine = partial(local_workers, workers) if scheduler is None else partial(dask_workers, scheduler)
    rows: dict[str, Row] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=out, transient=True) as bar:
            total = bar.add_task("restored", total=len(jobs))
            for row in batch(jobs, engine, at_once):
                rows[row.output] = row
                bar.console.print(_told(row), markup=False)
                bar.advance(total)
    except KeyboardInterrupt:
        _fail(f"interrupted: {len(rows)} of {len(jobs)} are done; run the same line again to go on")
    finally:
        write_summary(folder / SUMMARY, [rows[job.target] for job in jobs if job.target in rows])
    out.print(f"summary: {folder / SUMMARY}", markup=False)
    if failed := sum(row.state == "failed" for row in rows.values()):
        _fail(f"{failed} of {len(jobs)} failed; the summary says why")


@app.command(name="presets")
def list_presets(
    name: Annotated[str | None, typer.Argument(help="Show every setting of this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print its JSON, to edit and run.")] = False,
) -> None:
    """List the recipes that come with napari-dip, or one with all its settings."""
    if name is None:
        table = Table("preset", "what it is for", box=None)
        for preset in presets():
            table.add_row(preset, Recipe.preset(preset).summary)
        out.print(table)
        return
    recipe = Recipe.preset(name)
    if as_json:
        print(recipe.to_json(indent=2))
        return
    table = Table("setting", "value", "meaning", box=None)
    values = _flat(recipe.model_dump(mode="json"))
    for dotted, field in walk(Recipe):
        if dotted in values:
            shown = "automatic" if values[dotted] is None else str(values[dotted])
            table.add_row(dotted, shown, (field.description or "").replace("[", r"\["))
    out.print(table)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A FITS or TIFF file.")],
) -> None:
    """Say what is in FILE: images, axes, pixel sizes, holes, noise, and our recipe if it has one."""
    for number, image in enumerate(images(file)):
        title = image.header.name or f"image {number}"
        out.print(f"{title}: {_facts(image)}", markup=False)
        for flag, (name, count) in (image.quality.kinds() if image.quality else {}).items():
            use = "a hole" if image.quality and flag in image.quality.bad else "used"
            out.print(f"  {flag} {name}: {count:,} pixels, {use}", markup=False)
    try:
        recipe = Recipe.from_json(recipe_of(file), source=str(file))
    except ReadError:
        return
    out.print(f"written by napari-dip: {recipe.title}, seed {recipe.seed}", markup=False)
    out.print(recipe.to_json(), markup=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the files.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Seed of the simulation and of the run.")] = 0,
) -> None:
    """Simulate a star field, restore it, and compare with the truth."""
    from napari_dip.samples import star_field

    if folder.is_file():
        raise WriteError(f"{folder} is a file; give the name of a folder")
    folder.mkdir(parents=True, exist_ok=True)
    noisy, restored = folder / "star_field.fits", folder / "star_field_restored.fits"
    simulated = star_field(seed)
    simulated.writeto(noisy, overwrite=True)
    image = first_image(noisy)
    result = _watched(Recipe.preset("denoise").override({"seed": seed}), image.observe())
    write(restored, result, overwrite=True)
    out.print(result.verdict, markup=False)
    truth = simulated["TRUTH"].data
    sky = truth < np.percentile(truth, 75)
    known = sky & ~result.filled
    before, after = (float(np.std((a - truth)[known])) for a in (image.array, result.image))
    out.print(f"error on the sky: {before:.2f} adu before, {after:.2f} adu after")
    out.print(f"written: {noisy}\n         {restored}", markup=False)


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show_version:
        out.print(version("napari-dip"))
        raise typer.Exit


def _recipe(name: str, level: Level | None, changes: list[str] | None, seed: int | None) -> Recipe:
    recipe = _named(name)
    if level is not None:
        recipe = recipe.at_level(level)
    settings = dict(_change(text) for text in changes or [])
    return recipe.override(settings if seed is None else settings | {"seed": seed})


def _named(name: str) -> Recipe:
    if name in presets():
        return Recipe.preset(name)
    path = Path(name)
    if path.suffix.lower() == ".json" and path.is_file():
        return Recipe.from_file(path)
    if path.is_file():
        return Recipe.from_json(recipe_of(path), source=name)
    if path.suffix:
        raise ReadError(f"there is no file {name}; the presets are {', '.join(presets())}")
    return Recipe.preset(name)


def _companions(texts: list[str] | None) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts or []:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            raise SettingsError(f"--with {text}: write it as name=file, such as psf=star.fits")
        pairs.append((name, file))
    return tuple(pairs)


def _flags(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(flag) for flag in text.split(",") if flag.strip())
    except ValueError as error:
        raise SettingsError(
            f"--flags {text}: write whole numbers and commas, such as 1,4,4096"
        ) from error


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {text}: write it as name=value, such as noise.sigma=12")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _told(row: Row) -> str:
    """A row as a line to read."""
    name = Path(row.output).name
    if row.state == "failed":
        return f"{name}: failed: {row.reason}"
    noise = f"noise {row.noise_before:.4g} before, {row.noise_after:.4g} after"
    return f"{name}: {row.state}, {noise}, {row.steps} steps, {row.seconds:.0f} s"


def _watched(recipe: Recipe, observation: Observation) -> Result:
    """Run under a progress bar; the first Ctrl-C finishes and keeps."""
    from napari_dip.restoration import restore

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("step {task.fields[step]}"),
        TextColumn("{task.fields[rate]:.1f} it/s, at most"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with _interrupts() as interrupted, Progress(*columns, console=out, transient=True) as bar:
        bar.console.print(f"{recipe.title} ... (Ctrl-C finishes and keeps)", markup=False)
        job = bar.add_task(recipe.title, total=1.0, step=0, rate=0.0)
        run, wish, steps, previous = restore(recipe, observation), None, 0, 0
        said = {""}
        while True:
            try:
                iterate = run.send(wish)
            except StopIteration as end:
                result: Result = end.value
                return result
            steps += iterate.step - (previous if iterate.step > previous else 0)
            previous = iterate.step
            rate = steps / max(iterate.seconds, 1e-9)
            if iterate.remark not in said:
                bar.console.print(f"{recipe.title}: {iterate.remark}", markup=False)
                said.add(iterate.remark)
            bar.update(job, completed=iterate.done, step=iterate.step, rate=rate)
            wish = Wish(finish=True) if interrupted else None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that is filled by the first Ctrl-C; the second one interrupts as usual."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _facts(image: FileImage) -> str:
    size = " x ".join(f"{a} {n}" for a, n in zip(image.axes, image.array.shape, strict=True))
    facts = [size, str(image.array.dtype)]
    if image.header.unit:
        facts.append(f"in {image.header.unit}")
    facts += [f"{a}: {s:.6g} {u}" for a, (s, u) in image.header.pixel_size.items()]
    if image.header.channels:
        facts.append("channels " + ", ".join(image.header.channels))
    holes = image.holes
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
