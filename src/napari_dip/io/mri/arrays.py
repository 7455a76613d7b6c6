"""K-space of several coils in NumPy and HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ReadError
from napari_dip.core.header import Header
from napari_dip.io.image import ImageData
from napari_dip.io.mri.ismrmrd_reader import GROUP, INSTALL_HINT, read_cartesian

ARRAY_NAMES = ("kspace", "coils")
AXES_BY_NDIM = {2: "YX", 3: "CYX", 4: "TCYX", 5: "TCZYX"}
SHAPES_NEEDED = "(T, coils, Z, Y, X), (T, coils, Y, X), (coils, Y, X) or (Y, X)"


def kspace_images(path: Path) -> Iterator[ImageData]:
    """Yield k-space, and the coil maps if the file has them.

    ``.npy``: one complex array; ``.npz`` and ``.h5``: complex arrays named ``kspace`` and, optionally,
    ``coils``; or ISMRMRD in ``.h5``. K-space has the axes (T, coils, Y, X), (coils, Y, X), (Y, X), or
    (T, coils, Z, Y, X) of several slices, centered, and 0 where nothing was sampled;
    coil maps have (coils, Y, X). Each becomes an image with the real parts of all coils as its first
    channels, and then the imaginary parts.

    Raises
    ------
    ReadError
        If there is no complex array of such a shape.
    """
    if path.suffix.lower() == ".npy":
        yield kspace_image(np.load(path, mmap_mode="r", allow_pickle=False), path, 0)
        return
    if path.suffix.lower() == ".npz":
        arrays = _npz(path)
    elif GROUP in _names(path):
        kspace, pixel_size = read_cartesian(path)
        yield kspace_image(kspace, path, 0, pixel_size)
        return
    else:
        arrays = _hdf5(path)
    if "kspace" not in arrays:
        raise ReadError(f"{path} has no array 'kspace'; it has {', '.join(arrays) or 'none'}")
    for number, name in enumerate(ARRAY_NAMES):
        if name in arrays:
            yield kspace_image(arrays[name], path, number)


def is_kspace(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` contains k-space; only its start is read."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            return bool(np.iscomplexobj(np.load(path, mmap_mode="r", allow_pickle=False)))
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return ARRAY_NAMES[0] in arrays.files
        return not {ARRAY_NAMES[0], GROUP}.isdisjoint(_names(path))
    except (ValueError, OSError):
        return False
    except ReadError:  # a package is missing: reading the file will report it
        return True


def _npz(path: Path) -> Mapping[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name in ARRAY_NAMES}


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ReadError(f"{path}: HDF5 needs {INSTALL_HINT}") from error
    return h5py.File(path, "r")


def _names(path: Path) -> list[str]:
    """The names at the top level of the HDF5 file at `path`."""
    with _open_hdf5(path) as file:
        return list(file)


def _hdf5(path: Path) -> Mapping[str, NDArray[Any]]:
    with _open_hdf5(path) as file:
        return {name: file[name][()] for name in ARRAY_NAMES if hasattr(file.get(name), "dtype")}


def kspace_image(
    array: NDArray[Any],
    path: Path | str,
    number: int,
    pixel_size: Mapping[str, tuple[float, str]] | None = None,
) -> ImageData:
    """Return complex k-space (`number` 0), whose missing samples are marked, or coil maps (1), as an
    image.

    Raises
    ------
    ReadError
        If the array is not complex, or has no axes that k-space can have.
    """
    name = ARRAY_NAMES[number]
    if not np.iscomplexobj(array) or array.ndim not in AXES_BY_NDIM:
        raise ReadError(
            f"{path}: '{name}' is {array.dtype} of shape {array.shape}; k-space has to be complex,"
            f" of axes {SHAPES_NEEDED}"
        )
    planes = array if array.ndim > 2 else array[None]
    coils = AXES_BY_NDIM[planes.ndim].index("C")
    parts = np.concatenate((planes.real, planes.imag), axis=coils).astype(np.float32)
    flagged = None
    if name == "kspace":
        missing = planes == 0
        flagged = np.concatenate((missing, missing), axis=coils)
    about = Header(path=str(path), hdu=number, name=name, pixel_size=pixel_size or {})
    return ImageData(parts, AXES_BY_NDIM[planes.ndim], bad_mask=flagged, header=about)
