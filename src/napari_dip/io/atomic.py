"""Writing so that a file appears whole or not at all, and nothing of the user's is lost."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_dip.core.errors import WriteError

OTHER_TIFF_SUFFIXES = (".stk", ".lsm", ".btf", ".tf2", ".tf8", ".svs")  # which are only read
_PREFIX = ".napari-dip-"


def check_output_path(path: Path, *, overwrite: bool) -> None:
    """Raise `WriteError` if `path` cannot become a file, or is one already."""
    if path.suffix.lower() == ".fz":
        raise WriteError(f"{path}: compressed tiles (.fz) are read only; write .fits or .fits.gz")
    if path.suffix.lower() in OTHER_TIFF_SUFFIXES:
        raise WriteError(f"{path}: files of {path.suffix} are read only; write .ome.tif")
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise WriteError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise WriteError(f"{path} exists already; allow overwriting, or choose another name")
    if not os.access(path.parent, os.W_OK):
        raise WriteError(f"the folder {path.parent} may not be written to")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A new file beside `path`, with its suffixes, that takes its name once it is complete."""
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.name.lower(), dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        with unfinished.open("rb+") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        unfinished.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_partial_files(path: Path) -> None:
    """Remove what is left of writing `path` by processes that were killed; none may be at it now."""
    for left in path.parent.glob(f"{_PREFIX}????????{glob.escape(path.name.lower())}"):
        left.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
