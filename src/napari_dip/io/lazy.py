"""Pixels of large files, read on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core.errors import ReadError

CHUNK_PX = 2048  # side of the parts that are read at a time

ReadPart = Callable[[tuple[slice, ...]], NDArray[Any]]


def chunked_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike, read: ReadPart) -> Any:
    """Return a dask array whose parts `read` brings from the file at `path`.

    A part raises `ReadError` if the file was replaced or removed.
    """
    import dask.array as da

    before = file_identity(path)

    def part(block_info: Mapping[Any, Any]) -> NDArray[Any]:
        if file_identity(path) != before:
            raise ReadError(f"{path} was changed or moved since it was opened: open it again")
        place = tuple(slice(*ends) for ends in block_info[None]["array-location"])
        return np.ascontiguousarray(read(place), np.dtype(dtype).newbyteorder("="))

    sizes = (*(1 for _ in shape[:-2]), CHUNK_PX, CHUNK_PX)
    chunks = da.core.normalize_chunks(sizes, shape=shape)  # type: ignore[no-untyped-call]
    kind = np.dtype(dtype).newbyteorder("=")
    like = np.empty((0,) * len(shape), kind)
    return da.map_blocks(part, chunks=chunks, dtype=kind, meta=like)  # type: ignore[no-untyped-call]


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """Return what distinguishes a file from another one of the same name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
