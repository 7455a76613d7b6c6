"""ASDF in: arrays of Roman and others, with their error and quality planes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError
from napari_dip.core.header import Header
from napari_dip.io.data_quality import DataQuality
from napari_dip.io.formats import describe_missing_package
from napari_dip.io.image import ImageData, valid_sigma

_MAX_TREE_BYTES = 16 * 2**20
_AXES = {2: "YX", 3: "TYX", 4: "TZYX", 5: "TZCYX"}


def asdf_images(path: Path) -> Iterator[ImageData]:
    """Yield the images of an ASDF file: data with err and dq as of Roman, or each array of the tree.

    Raises
    ------
    ReadError
        If it holds no image, or its arrays are in other files.
    """
    _check(path)
    try:
        import asdf
    except ImportError as error:
        raise ReadError(describe_missing_package(path, "ASDF", "asdf")) from error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tags of packages that are not installed
        with asdf.open(path, memmap=False, lazy_load=True) as file:
            found = dict(_arrays(file.tree))
            if not found:
                raise ReadError(f"{path} holds no image: no array with two sides or more")
            groups = [name for name in found if _last(name) == "data"] or list(found)
            for number, name in enumerate(groups):
                yield _image(path, number, name, found, file.tree)


def _check(path: Path) -> None:
    """Refuse files that are not ASDF, or whose tree has no end or refers to other files."""
    with path.open("rb") as file:
        start = file.read(_MAX_TREE_BYTES)
    if not start.startswith(b"#ASDF"):
        raise ReadError(f"{path} is no ASDF file: it does not begin with #ASDF")
    tree, end, _ = start.partition(b"\n...")
    if not end and len(start) == _MAX_TREE_BYTES:
        raise ReadError(f"{path}: its tree has no end within 16 MB; it is broken")
    if re.search(rb"source\s*['\"]?\s*:\s*(?![-\d\s\[])", tree):
        raise ReadError(f"{path}: its arrays are in other files, which are not opened")


def _arrays(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays with two or more dimensions, by their path in the tree."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _arrays(value, f"{name}.{key}" if name else str(key))
    elif hasattr(tree, "shape") and hasattr(tree, "dtype") and not name.startswith("history"):
        shape = tuple(tree.shape)
        if 2 <= len(shape) <= 5 and 0 not in shape and np.dtype(tree.dtype).kind in "iufb":
            yield name, tree


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _image(path: Path, number: int, name: str, found: Mapping[str, Any], tree: Any) -> ImageData:
    array = _pixels(path, found[name])
    place = name.rpartition(".")[0]

    def beside(what: str) -> Any:
        other = found.get(f"{place}.{what}" if place else what)
        return None if other is None or tuple(other.shape) != array.shape else _pixels(path, other)

    sigma, values = beside("err"), beside("dq")
    telescope = "ROMAN" if name.startswith("roman.") else str(_meta(tree, place).get("telescope", ""))
    quality = None if values is None else DataQuality.from_plane(values, telescope)
    flagged = np.zeros(array.shape, bool) if quality is None else quality.mask()
    if sigma is not None:
        sigma = valid_sigma(sigma.astype(np.float32), flagged)
    return ImageData(
        array,
        _AXES[array.ndim],
        bad_mask=flagged if flagged.any() else None,
        sigma=sigma,
        header=Header(path=str(path), hdu=number, name=name),
        quality=quality,
    )


def _meta(tree: Any, place: str) -> Mapping[str, Any]:
    for key in (*place.split("."), "meta"):
        if key:
            tree = tree.get(key, {}) if isinstance(tree, Mapping) else {}
    return tree if isinstance(tree, Mapping) else {}


def _pixels(path: Path, array: Any) -> NDArray[Any]:
    size = int(np.prod(array.shape, dtype=object)) * np.dtype(array.dtype).itemsize
    if size > arrays.unpacked_limit_bytes(path.stat().st_size):
        raise ReadError(f"{path}: an array of {size / 1e9:.3g} GB is more than the memory has room for")
    return np.ascontiguousarray(array, dtype=np.dtype(array.dtype).newbyteorder("="))
