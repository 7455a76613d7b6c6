"""Pixels of large files, read when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core.errors import ReadError

CHUNK_PX = 2048  # pixels along Y and X that are read at a time

ReadPart = Callable[[tuple[slice, ...]], NDArray[Any]]


def chunked_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike, read: ReadPart) -> Any:
    """A dask array whose pixels `read` brings from the file at `path`, part by part.

    A part raises `ReadError` once the file is another one than it was, or gone.
    """
    import dask.array as da

    before = _identity(path)

    def part(block_info: Mapping[Any, Any]) -> NDArray[Any]:
        if _identity(path) != before:
            raise ReadError(f"{path} was changed or moved since it was opened: open it again")
        place = tuple(slice(*ends) for ends in block_info[None]["array-location"])
        return np.ascontiguousarray(read(place), np.dtype(dtype).newbyteorder("="))

    sizes = (*(1 for _ in shape[:-2]), CHUNK_PX, CHUNK_PX)
    chunks = da.core.normalize_chunks(sizes, shape=shape)  # type: ignore[no-untyped-call]
    kind = np.dtype(dtype).newbyteorder("=")
    like = np.empty((0,) * len(shape), kind)
    return da.map_blocks(part, chunks=chunks, dtype=kind, meta=like)  # type: ignore[no-untyped-call]


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that takes its name later."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
