"""Arrays as large as the disk: in memory if they are small, else in a temporary file."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import psutil
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_dip.core.errors import ObservationError

MAX_ARRAY_SHARE = 0.1  # of the free memory, that one array may take
MAX_UNPACKED_RATIO = 300  # over the size of the file
MIN_UNPACKED_BYTES = 2**28  # that any file may unpack to
MAX_UNPACKED_SHARE = 0.25  # of it, that a file may take whose size shows only while it is unpacked
BLOCK_PIXELS = 2**24  # that are processed together


@runtime_checkable
class Lazy(Protocol):
    """What can be indexed like an array and may store its pixels elsewhere: dask, zarr, a mapped
    file.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, key: Any) -> Any:
        """Some of the pixels."""


def as_indexable(array: ArrayLike | Lazy) -> Lazy:
    """Return `array` itself if it can be indexed like one, else as NumPy array."""
    indexed = isinstance(array, Lazy) and isinstance(array.dtype, np.dtype)
    return array if indexed else np.asarray(array)  # type: ignore[return-value]


def fits_in_memory(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> bool:
    """Whether an array is small compared with the free memory."""
    return bool(_bytes(shape, dtype) <= MAX_ARRAY_SHARE * psutil.virtual_memory().available)


def unpacked_limit_bytes(stored: int) -> int:
    """Return the memory that a file of `stored` bytes may take, whose size shows only while it is
    unpacked. [byte]
    """
    available = int(MAX_UNPACKED_SHARE * psutil.virtual_memory().available)
    return min(available, densest_bytes(stored))


def densest_bytes(stored: int) -> int:
    """Return the size that `stored` bytes of an image unpack to at most: what is packed more densely
    than that is a trap. [byte]
    """
    return max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * stored)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array with arbitrary values; a large one is in a file that is deleted with it.

    Raises
    ------
    ObservationError
        If the disk is too small for it.
    """
    if fits_in_memory(shape, dtype):
        return np.empty(shape, dtype)
    need, folder = _bytes(shape, dtype), tempfile.gettempdir()
    with tempfile.TemporaryFile(prefix="napari-dip-") as file:
        try:
            if need > shutil.disk_usage(folder).free:
                raise OSError
            if hasattr(os, "posix_fallocate"):  # or writing to it might end the process
                os.posix_fallocate(file.fileno(), 0, need)
        except OSError as error:
            raise ObservationError(
                f"an image needs {need / 1e9:.3g} GB, more than memory and the disk of {folder} have: "
                "free some, or set TMPDIR to a folder with more space"
            ) from error
        return np.memmap(file, np.dtype(dtype), "w+", shape=shape)


def full(shape: tuple[int, ...], value: float, dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array filled with `value`; as `empty`."""
    array = empty(shape, dtype)
    array[...] = value
    return array


def copy_array(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in C order; as `empty`."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def iter_blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield slices that cover an array (T, C, Z, Y, X), each of one T and Z and of few rows."""
    times, channels, depth, height, width = shape
    rows = max(1, BLOCK_PIXELS // (channels * width))
    for t in range(times):
        for z in range(depth):
            for top in range(0, height, rows):
                here = slice(top, min(top + rows, height))
                yield slice(t, t + 1), slice(None), slice(z, z + 1), here, slice(None)


def central_slice(length: int, size: int) -> slice:
    """Return the slice of the central `size` elements of an axis; of all where it is shorter."""
    start = max((length - size) // 2, 0)
    return slice(start, start + min(size, length))


def _bytes(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize
