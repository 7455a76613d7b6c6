"""K-space of several coils, as NumPy and HDF5 files hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.errors import ReadError
from napari_dip.io.file_image import FileImage
from napari_dip.observation import Header

NAMES = ("kspace", "coils")
LETTERS = {2: "YX", 3: "CYX", 4: "TCYX"}


def kspace_images(path: Path) -> Iterator[FileImage]:
    """K-space, and the coil maps where the file has them.

    ``.npy``: one complex array; ``.npz`` and ``.h5``: complex arrays called ``kspace`` and, if known,
    ``coils``. K-space has the axes (T, coils, Y, X), (coils, Y, X) or (Y, X), its middle in the middle,
    and 0 where nothing was sampled; coil maps have (coils, Y, X). Each becomes an image with the real parts
    of all coils as its first channels, and then the imaginary parts.

    Raises
    ------
    ReadError
        If there is no complex array of such a shape.
    """
    if path.suffix.lower() == ".npy":
        yield _image(np.load(path, mmap_mode="r", allow_pickle=False), path, 0)
        return
    arrays = _npz(path) if path.suffix.lower() == ".npz" else _hdf5(path)
    if "kspace" not in arrays:
        raise ReadError(f"{path} has no array 'kspace'; it has {', '.join(arrays) or 'none'}")
    for number, name in enumerate(NAMES):
        if name in arrays:
            yield _image(arrays[name], path, number)


def is_kspace(path: Path) -> bool:
    """Whether the file at `path` is k-space and no array of another kind; only its head is read."""
    if path.suffix.lower() != ".npy":
        return True
    try:
        return bool(np.iscomplexobj(np.load(path, mmap_mode="r", allow_pickle=False)))
    except (ValueError, OSError):
        return False


def _npz(path: Path) -> Mapping[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name in NAMES}


def _hdf5(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        import h5py
    except ImportError as error:
        raise ReadError(f"{path}: HDF5 needs the package h5py: pip install 'napari-dip[mri]'") from error
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in NAMES if isinstance(file.get(name), h5py.Dataset)}


def _image(array: NDArray[Any], path: Path, number: int) -> FileImage:
    name = NAMES[number]
    if not np.iscomplexobj(array) or array.ndim not in LETTERS:
        raise ReadError(
            f"{path}: '{name}' is {array.dtype} of shape {array.shape}; k-space has to be complex, of axes"
            " (T, coils, Y, X), (coils, Y, X) or (Y, X)"
        )
    planes = array if array.ndim > 2 else array[None]
    parts = np.concatenate((planes.real, planes.imag), axis=-3).astype(np.float32)
    flagged = None
    if name == "kspace":
        missing = planes == 0
        flagged = np.concatenate((missing, missing), axis=-3)
    about = Header(path=str(path), hdu=number, name=name)
    return FileImage(parts, LETTERS[planes.ndim], flagged=flagged, header=about)
