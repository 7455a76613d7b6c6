"""The commands that restore: run, batch, demo."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from napari_dip.cli.app import app, exit_if_failed, fail, out, print_json
from napari_dip.cli.options import RecipeName, SharedOptions, share_options
from napari_dip.cli.progress import run_with_progress
from napari_dip.core.errors import WriteError
from napari_dip.io import FileFormat, read_first_image, write
from napari_dip.run.batch import (
    SUMMARY,
    Job,
    JobResult,
    Workers,
    dask_workers,
    local_workers,
    plan_jobs,
    run_jobs,
)
from napari_dip.run.recipe import Quality, Recipe
from napari_dip.run.rescue import check_free_space, write_or_rescue

SchedulerAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A dask scheduler whose workers restore: tcp://host:8786."),
]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the outcome as JSON, and everything else as errors are.")
]


@app.command()
@share_options
def run(
    recipe: RecipeName,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="A FITS or TIFF file; several become frames along T."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The FITS or TIFF file to write.")],
    format: Annotated[  # noqa: A002 - the name of the option
        FileFormat, typer.Option(help="imagej: a TIFF with the image and its recipe alone.")
    ] = "auto",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that apply the network of a large image to its parts.")
    ] = 1,
    scheduler: SchedulerAddress = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that keeps the fit until OUTPUT is written.",
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    options: SharedOptions,
) -> None:
    """Restore INPUT by RECIPE and write OUTPUT. Ctrl-C stops early and keeps the image.

    With --checkpoint, the same line run again continues a run that was killed.

    A file may be followed by the name of an extension in brackets: --psf image.fits[PSF].
    """
    from napari_dip.run.checkpoint import Checkpoint

    out.stderr = as_json
    resolved = options.resolve(recipe)
    job = Job(
        tuple(sources),
        str(target),
        resolved.to_json(),
        mask=None if options.mask is None else str(options.mask),
        auxiliary=options.auxiliary,
        overwrite=options.overwrite,
        bad_flags=options.flags,
        dtype=options.dtype,
        format=format,
        axes=options.axes,
    )
    job.check()
    helpers = _choose_workers(workers, scheduler) if scheduler or workers > 1 else None
    observation = job.observation()
    check_free_space(target, observation, resolved)
    kept = None if checkpoint is None else Checkpoint.of_run(checkpoint, resolved, observation)
    result = run_with_progress(resolved, observation, helpers, kept)
    dtype = options.dtype
    clipped = write_or_rescue(target, result, overwrite=options.overwrite, dtype=dtype, format=format)
    if kept is not None:
        kept.remove()
    out.print(result.summary, markup=False)
    stored = "" if dtype == "float32" else f", as {dtype}: {100 * clipped:.3g} % of the pixels clipped"
    out.print(f"written: {target}{stored}", markup=False)
    if as_json:
        print_json({"output": str(target), "clipped": clipped, **result.metadata})
    exit_if_failed([result.assessment.level])


@app.command(name="batch")
@share_options
def run_batch(
    recipe: RecipeName,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="FITS and TIFF files, and folders of them."),
    ],
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")],
    workers: Annotated[
        int, typer.Option(min=1, help="Number of files restored at a time on this machine.")
    ] = 1,
    scheduler: SchedulerAddress = None,
    as_json: AsJson = False,
    *,
    options: SharedOptions,
) -> None:
    """Restore each INPUT separately by RECIPE, into DIR under the same name, and write a summary.

    Results that exist, of the same recipe and the same data, are skipped, and a fit that was interrupted
    goes on where it stood: run the same line again.
    """
    out.stderr = as_json
    jobs = plan_jobs(
        options.resolve(recipe),
        inputs,
        output_dir,
        mask=None if options.mask is None else str(options.mask),
        auxiliary=options.auxiliary,
        overwrite=options.overwrite,
        bad_flags=options.flags,
        dtype=options.dtype,
        axes=options.axes,
    )
    num_parallel = workers if scheduler is None else len(jobs)
    results: dict[str, JobResult] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    summary = output_dir / SUMMARY
    try:
        with Progress(*columns, console=out, transient=True) as bar:
            total = bar.add_task("restored", total=len(jobs))
            choice = _choose_workers(workers, scheduler)
            for result in run_jobs(jobs, choice, num_parallel, summary=summary):
                results[result.output] = result
                bar.console.print(result.describe(), markup=False)
                bar.advance(total)
    except KeyboardInterrupt:
        fail(f"interrupted: {len(results)} of {len(jobs)} are done; run the same line to continue")
    out.print(f"summary: {summary}", markup=False)
    if as_json:
        rows = [asdict(results[job.target]) for job in jobs if job.target in results]
        print_json({"summary": str(summary), "results": rows})
    if failed := sum(result.state == "failed" for result in results.values()):
        fail(f"{failed} of {len(jobs)} failed; the summary says why")
    exit_if_failed([result.assessment.partition(":")[0] for result in results.values()])


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the files.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Seed of the simulation and of the run.")] = 0,
    quality: Annotated[
        Quality, typer.Option(help="As for run; balanced takes several minutes on a CPU.")
    ] = "fast",
) -> None:
    """Simulate a star field, restore it, and compare with the truth."""
    from napari_dip.datasets import star_field

    if folder.is_file():
        raise WriteError(f"{folder} is a file: give the name of a folder")
    folder.mkdir(parents=True, exist_ok=True)
    noisy, restored = folder / "star_field.fits", folder / "star_field_restored.fits"
    simulated = star_field(seed)
    simulated.writeto(noisy, overwrite=True)
    image = read_first_image(noisy)
    recipe = Recipe.preset("denoise").with_quality(quality).with_settings({"seed": seed})
    result = run_with_progress(recipe, image.to_observation())
    write(restored, result, overwrite=True)
    out.print(result.summary, markup=False)
    truth = simulated["TRUTH"].data
    sky = truth < np.percentile(truth, 75)
    known = sky & ~result.inpainted
    before, after = (float(np.std((a - truth)[known])) for a in (image.array, result.image))
    out.print(f"error on the sky: {before:.2f} adu before, {after:.2f} adu after")
    out.print(f"written: {noisy}\n         {restored}", markup=False)


def _choose_workers(number: int, scheduler: str | None) -> Workers:
    return partial(dask_workers, scheduler) if scheduler else partial(local_workers, number)
