"""Atomic writing: a file appears completely or not at all, and no data of the user are lost."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_dip.core.errors import WriteError

_PREFIX = ".napari-dip-"
STORE_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")  # in the top folder of a zarr store


def check_output_path(path: Path, *, overwrite: bool, is_folder: bool = False) -> None:
    """Raise `WriteError` if no file, or folder, can be written to `path`, or one exists that may not be
    replaced; of folders only a zarr store may be.
    """
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent} for {path.name}")
    if not is_folder and path.is_dir():
        raise WriteError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise WriteError(f"{path} exists: allow overwriting, or choose another name")
    if is_folder and path.exists() and not any((path / name).is_file() for name in STORE_FILES):
        raise WriteError(f"{path} is no zarr store, and is not replaced: choose another name")
    try:
        with (_partial_folder if is_folder else _partial_file)(path.resolve()):
            pass
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a new file beside `path`, with its suffixes, that takes its name when it is complete.

    A symbolic link stays one: the file that it names is replaced.
    """
    path = path.resolve()
    with _partial_file(path) as unfinished:
        yield unfinished
        with unfinished.open("rb+") as file:  # Windows syncs only writable files
            os.fsync(file.fileno())
        unfinished.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        unfinished.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its name when it is complete.

    An existing store is moved away just before, and then removed.
    """
    path = path.resolve()
    with _partial_folder(path) as unfinished:
        yield unfinished
        unfinished.chmod(0o777 & ~_umask())
        if not path.exists():
            unfinished.rename(path)
            return
        with _partial_folder(path) as old:
            path.rename(old / path.name)
            unfinished.rename(path)


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    name = tempfile.mkdtemp(prefix=_PREFIX, suffix=path.name.lower(), dir=path.parent)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)


@contextmanager
def _partial_file(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.name.lower(), dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def remove_partial_files(path: Path) -> None:
    """Remove partial files that killed processes left beside `path`; no process may be writing it."""
    for partial in path.parent.glob(f"{_PREFIX}????????{glob.escape(path.name.lower())}"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
