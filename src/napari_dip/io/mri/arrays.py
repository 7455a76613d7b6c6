"""K-space of several coils in NumPy and HDF5 files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.arrays import unpacked_limit_bytes
from napari_dip.core.errors import ReadError, ReadWarning
from napari_dip.core.header import Header
from napari_dip.io.image import COIL_MAPS_NAME, KSPACE_NAME, ImageData
from napari_dip.io.mri.ismrmrd_reader import (
    GROUP,
    INSTALL_HINT,
    read_cartesian,
    remove_oversampling,
)

ARRAY_NAMES = (KSPACE_NAME, COIL_MAPS_NAME)
AXES_BY_NDIM = {2: "YX", 3: "CYX", 4: "TCYX", 5: "TCZYX"}
MAP_AXES_BY_NDIM = {3: "CYX", 4: "CZYX"}
FASTMRI_MARKS = {"ismrmrd_header", "reconstruction_rss", "reconstruction_esc"}
MIN_CORNER_RATIO = 10.0  # of the energy at the corner of k-space over that at its center
CORNER_PX = 2
SHAPES_NEEDED = "(T, coils, Z, Y, X), (T, coils, Y, X), (coils, Y, X) or (Y, X)"


def kspace_images(path: Path) -> Iterator[ImageData]:
    """Yield k-space, and the coil maps if the file has them.

    ``.npy``: one complex array; ``.npz`` and ``.h5``: complex arrays named ``kspace`` and, optionally,
    ``coils``; or ISMRMRD in ``.h5``. K-space has the axes (T, coils, Y, X), (coils, Y, X), (Y, X), or
    (T, coils, Z, Y, X) of several slices, centered, and 0 where nothing was sampled;
    coil maps have (coils, Y, X) or (coils, Z, Y, X). fastMRI's files have (slices, Y, X) or (slices,
    coils, Y, X), which their own marks tell. Each becomes an image with the real parts of all coils as
    its first channels, and then the imaginary parts.

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
        raise ReadError(f"{path} has no array 'kspace'; it has {', '.join(_listed(path)) or 'none'}")
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


def _listed(path: Path) -> list[str]:
    """The names of all arrays in a file."""
    if path.suffix.lower() != ".npz":
        return _names(path)
    with np.load(path, allow_pickle=False) as arrays:
        return list(arrays.files)


def _npz(path: Path) -> Mapping[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name in ARRAY_NAMES]
        for name in names:
            _check_budget(path, name, arrays.zip.getinfo(f"{name}.npy").file_size)
        return {name: arrays[name] for name in names}


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
        names = [name for name in ARRAY_NAMES if name in file.keys()]  # noqa: SIM118  # also broken links
        arrays = {name: _dataset(path, file, name) for name in names}
        is_fastmri = "kspace" in arrays and not FASTMRI_MARKS.isdisjoint(file)
        return {"kspace": _fastmri(arrays["kspace"], file)} if is_fastmri else arrays


def _dataset(path: Path, file: Any, name: str) -> NDArray[Any]:
    """A dataset whose values lie in the file itself, and fit into the memory."""
    import h5py

    link = file.get(name, getlink=True)
    dataset = None if isinstance(link, h5py.ExternalLink) else file.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ReadError(f"{path}: '{name}' lies in another file, or is no array: copy it into this one")
    _check_budget(path, name, dataset.size * dataset.dtype.itemsize)
    return np.asarray(dataset[()])


def _check_budget(path: Path, name: str, size: int) -> None:
    """Refuse an array that does not fit into the memory."""
    if size > unpacked_limit_bytes(path.stat().st_size):
        raise ReadError(
            f"{path}: '{name}' would take {size / 1e9:.3g} GB: the memory has no room for that, or it is"
            " far more than the file holds"
        )


def _fastmri(kspace: NDArray[Any], file: Any) -> NDArray[np.complex64]:
    """The k-space of a fastMRI file, as (1, coils, slices, Y, X), without oversampling along Y.

    References
    ----------
    .. [1] Zbontar et al., "fastMRI: an open dataset and benchmarks for accelerated MRI",
           arXiv:1811.08839, section 4.
    """
    slices = kspace[:, None] if kspace.ndim == 3 else kspace
    if "mask" in file:  # of the columns that were sampled
        slices = np.where(file["mask"][()].astype(bool), slices, 0)
    whole = np.moveaxis(slices, 0, 1)[None]
    text = file["ismrmrd_header"][()] if "ismrmrd_header" in file else b"<none/>"
    size = ElementTree.fromstring(text).findtext(".//{*}reconSpace/{*}matrixSize/{*}x")
    height = int(size or whole.shape[-2])
    if not 0 < height < whole.shape[-2]:
        return whole.astype(np.complex64)
    return remove_oversampling(whole.swapaxes(-1, -2), height).swapaxes(-1, -2)


def _warn_if_uncentered(planes: NDArray[Any], path: Path | str) -> None:
    """Warn where the corner of k-space has far more energy than its center."""
    energy = (np.abs(planes) ** 2).reshape(-1, *planes.shape[-2:]).sum(axis=0, dtype=float)
    at_corner, at_center = (
        np.roll(energy, (y + CORNER_PX, x + CORNER_PX), (0, 1))[: 2 * CORNER_PX, : 2 * CORNER_PX].sum()
        for y, x in ((0, 0), tuple(-(side // 2) for side in energy.shape))
    )
    if at_corner > MIN_CORNER_RATIO * at_center:
        warnings.warn(
            f"{path or 'k-space'}: the zero frequency seems to be at the corner; it has to be at the"
            " center: apply numpy.fft.fftshift to both axes",
            ReadWarning,
            stacklevel=3,
        )


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
    axes_by_ndim = AXES_BY_NDIM if name == "kspace" else MAP_AXES_BY_NDIM
    planes = array if array.ndim != 2 else array[None]
    if not np.iscomplexobj(array) or planes.ndim not in axes_by_ndim:
        needed = SHAPES_NEEDED if name == "kspace" else "(coils, Y, X) or (coils, Z, Y, X)"
        raise ReadError(
            f"{path}: '{name}' is {array.dtype} of shape {array.shape}; it has to be complex, of axes"
            f" {needed}"
        )
    axes = axes_by_ndim[planes.ndim]
    coils, flagged = axes.index("C"), None
    parts = np.concatenate((planes.real, planes.imag), axis=coils).astype(np.float32)
    if name == "kspace":
        _warn_if_uncentered(planes, path)
        missing = planes == 0
        flagged = np.concatenate((missing, missing), axis=coils)
    about = Header(path=str(path), hdu=number, name=name, pixel_size=pixel_size or {})
    return ImageData(parts, axes, bad_mask=flagged, header=about)
