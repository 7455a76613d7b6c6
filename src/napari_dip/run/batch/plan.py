"""From files and folders to jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path

from napari_dip.core.errors import ReadError, WriteError
from napari_dip.io import FOLDER_SUFFIXES, FORMATS, IMAGE_SUFFIXES, file_and_extension
from napari_dip.run.batch.job import Job
from napari_dip.run.recipe import Recipe


def plan_jobs(
    recipe: Recipe,
    inputs: Iterable[str],
    folder: Path,
    *,
    mask: str | None = None,
    auxiliary: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    bad_flags: tuple[int, ...] | None = None,
    dtype: str = "float32",
    axes: str | None = None,
) -> list[Job]:
    """Return one job for each input, whose output has the same name in `folder`.

    Parameters
    ----------
    recipe : Recipe
        What to do with all of them.
    inputs : iterable of str
        Image files, patterns of their names (``night/*.fits``), and folders of such files.
    folder : Path
        Where the outputs go; it is made if it does not exist.
    mask, auxiliary, overwrite, bad_flags, dtype, axes
        As for `Job`, for all of them.

    Raises
    ------
    ReadError
        If there is nothing to restore, or a pattern matches nothing.
    WriteError
        If two inputs would have the same output, or `folder` cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be made: {error.strerror or error}") from error
    jobs: dict[Path, Job] = {}
    for source in _image_files(inputs):
        target = (folder / _output_name(source)).absolute()
        if target in jobs:
            other = jobs[target].sources[0]
            raise WriteError(f"{other} and {source} would both become {target.name}: use two folders")
        if target == file_and_extension(source)[0].absolute():
            raise WriteError(f"{source} would be replaced by its own result: choose another folder")
        jobs[target] = Job(
            (_absolute(source),),
            str(target),
            recipe.to_json(),
            mask=None if mask is None else _absolute(mask),
            auxiliary=tuple((name, _absolute(file)) for name, file in auxiliary),
            overwrite=overwrite,
            bad_flags=bad_flags,
            dtype=dtype,
            axes=axes,
        )
    if not jobs:
        raise ReadError("there is nothing to restore: no FITS or TIFF file in the given folders")
    return list(jobs.values())


def _image_files(inputs: Iterable[str]) -> Iterator[str]:
    for path in (path for given in inputs for path in _matching(given)):
        if not Path(path).is_dir() or Path(path).name.lower().endswith(FOLDER_SUFFIXES):
            yield path
            continue
        for file in sorted(Path(path).iterdir()):
            if file.name.lower().endswith(IMAGE_SUFFIXES) and not file.name.startswith("."):
                yield str(file)


def _matching(given: str) -> list[str]:
    """The paths that a pattern matches, which some shells leave to programs; or the path itself."""
    file, extension = file_and_extension(given)
    if "://" in given or not {"*", "?"} & set(str(file)) or file.exists():
        return [given]
    found = sorted(glob(str(file), recursive=True))
    if not found:
        raise ReadError(f"no file matches {file}")
    return [f"{name}[{extension}]" if extension else name for name in found]


def _output_name(source: str) -> str:
    """The name of the input, in a format that can be written, with the extension before the suffix."""
    file, extension = file_and_extension(source)
    name, lower = file.name, file.name.lower()
    only_read = (s for f in FORMATS for s in (f.read_only_suffixes if f.write else f.suffixes))
    read_only = next((suffix for suffix in only_read if lower.endswith(suffix)), "")
    if read_only == ".fz":
        name = name[:-3] if ".fits" in lower else f"{name[:-3]}.fits"
    elif read_only:
        name = f"{name[: -len(read_only)]}.ome.tif"
    stem, dot, suffix = name.partition(".")
    return f"{stem}_{extension.replace('/', '-')}{dot}{suffix}" if extension else name


def _absolute(source: str) -> str:
    """The same input for a process in another folder."""
    return source if "://" in source else str(Path(source).absolute())
