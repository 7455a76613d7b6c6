"""The command line: run, batch, presets, info, demo."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from napari_dip.cli.app import app, fail
from napari_dip.cli.options import (
    BadFlags,
    Changes,
    Companions,
    Dtype,
    MaskFile,
    Overwrite,
    QualityOption,
    RecipeName,
    Seed,
    parse_auxiliary,
    parse_flags,
    resolve_recipe,
)
from napari_dip.cli.progress import out, run_with_progress
from napari_dip.core.errors import WriteError
from napari_dip.io import read_first_image, write
from napari_dip.run.batch.execute import run_jobs
from napari_dip.run.batch.executors import dask_workers, local_workers
from napari_dip.run.batch.job import Job, JobResult
from napari_dip.run.batch.plan import plan_jobs
from napari_dip.run.batch.summary import SUMMARY, write_summary
from napari_dip.run.recipe import Recipe


@app.command()
def run(
    recipe: RecipeName,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="A FITS or TIFF file; several become frames along T."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The FITS or TIFF file to write.")],
    holes: MaskFile = None,
    companions: Companions = None,
    level: QualityOption = None,
    changes: Changes = None,
    seed: Seed = None,
    flags: BadFlags = None,
    kind: Dtype = "float32",
    imagej: Annotated[bool, typer.Option("--imagej", help="Write ImageJ's own TIFF.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Restore INPUT by RECIPE and write OUTPUT. Ctrl-C finishes early and keeps what is there.

    A file may be followed by the name of its extension, in brackets: psf=frame.fits[PSF].
    """
    chosen = resolve_recipe(recipe, level, changes, seed)
    job = Job(
        tuple(sources),
        str(target),
        chosen.to_json(),
        None if holes is None else str(holes),
        parse_auxiliary(companions),
        overwrite,
        parse_flags(flags),
        kind,
        imagej,
    )
    job.check()
    result = run_with_progress(chosen, job.observation())
    clipped = write(target, result, overwrite=overwrite, dtype=kind, imagej=imagej)
    out.print(result.summary, markup=False)
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
    holes: MaskFile = None,
    companions: Companions = None,
    level: QualityOption = None,
    changes: Changes = None,
    seed: Seed = None,
    flags: BadFlags = None,
    kind: Dtype = "float32",
    overwrite: Overwrite = False,
) -> None:
    """Restore each INPUT on its own by RECIPE, into DIR under its own name, and write a summary.

    What is there already, of the same recipe and the same data, is skipped: after an interruption run
    the same line again.
    """
    jobs = plan_jobs(
        resolve_recipe(recipe, level, changes, seed),
        inputs,
        folder,
        mask=None if holes is None else str(holes),
        auxiliary=parse_auxiliary(companions),
        overwrite=overwrite,
        bad_flags=parse_flags(flags),
        dtype=kind,
    )
    at_once = workers if scheduler is None else len(jobs)
    engine = partial(local_workers, workers) if scheduler is None else partial(dask_workers, scheduler)
    rows: dict[str, JobResult] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=out, transient=True) as bar:
            total = bar.add_task("restored", total=len(jobs))
            for row in run_jobs(jobs, engine, at_once):
                rows[row.output] = row
                bar.console.print(_format_result(row), markup=False)
                bar.advance(total)
    except KeyboardInterrupt:
        fail(f"interrupted: {len(rows)} of {len(jobs)} are done; run the same line again to go on")
    finally:
        write_summary(folder / SUMMARY, [rows[job.target] for job in jobs if job.target in rows])
    out.print(f"summary: {folder / SUMMARY}", markup=False)
    if failed := sum(row.state == "failed" for row in rows.values()):
        fail(f"{failed} of {len(jobs)} failed; the summary says why")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the files.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Seed of the simulation and of the run.")] = 0,
) -> None:
    """Simulate a star field, restore it, and compare with the truth."""
    from napari_dip.datasets import star_field

    if folder.is_file():
        raise WriteError(f"{folder} is a file; give the name of a folder")
    folder.mkdir(parents=True, exist_ok=True)
    noisy, restored = folder / "star_field.fits", folder / "star_field_restored.fits"
    simulated = star_field(seed)
    simulated.writeto(noisy, overwrite=True)
    image = read_first_image(noisy)
    result = run_with_progress(
        Recipe.preset("denoise").with_settings({"seed": seed}), image.to_observation()
    )
    write(restored, result, overwrite=True)
    out.print(result.summary, markup=False)
    truth = simulated["TRUTH"].data
    sky = truth < np.percentile(truth, 75)
    known = sky & ~result.inpainted
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


def _format_result(row: JobResult) -> str:
    """A row as a line to read."""
    name = Path(row.output).name
    if row.state == "failed":
        return f"{name}: failed: {row.stop_reason}"
    noise = f"noise {row.sigma_before:.4g} before, {row.sigma_after:.4g} after"
    return f"{name}: {row.state}, {noise}, {row.steps} steps, {row.seconds:.0f} s"
