"""NIfTI in and out: magnetic resonance images, with their place in space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.header import Header
from napari_dip.core.units import convert
from napari_dip.io.atomic import atomic_write
from napari_dip.io.formats import describe_missing_package
from napari_dip.io.image import Byproduct, ImageData

AXES = "XYZTC"  # in the order of the file
UNITS = {"meter": "m", "mm": "mm", "micron": "um", "sec": "s", "msec": "ms", "usec": "us"}
STORED = tuple(map(np.dtype, ("u1", "i2", "i4", "f4", "i1", "u2", "u4")))  # types that are kept
EXTENSION = "napari-dip "  # how our comment begins


def nifti_images(path: Path) -> Iterator[ImageData]:
    """Yield the image of a NIfTI file, (T, C, Z, Y, X) without axes of length 1 that it does not need.

    The pixels stay in their order. Their place in space is kept, and written again.

    Raises
    ------
    ReadError
        If it has complex values, colors, or more than five axes.
    """
    image = _open(path)
    kind, shape = image.get_data_dtype(), image.shape
    if kind.kind not in "iuf":
        raise ReadError(f"{path} has values of type {kind}: only real numbers can be restored")
    if len(shape) > len(AXES) or len(shape) < 2:
        raise ReadError(f"{path} has {len(shape)} axes: NIfTI files with two to five can be read")
    stored = np.asanyarray(image.dataobj) if arrays.fits_in_memory(shape) else _lazy(image)
    if stored.dtype == np.float64:
        stored = stored.astype(np.float32)
    kept = [n for n, size in enumerate(shape) if size > 1 or AXES[n] in "XY"]
    places = tuple(slice(None) if n in kept else 0 for n in range(len(shape)))
    length, duration = image.header.get_xyzt_units()
    units = dict.fromkeys("XYZ", UNITS.get(length, "")) | {"T": UNITS.get(duration, "")}
    zooms = dict(zip(AXES, image.header.get_zooms(), strict=False))
    axes = "".join(AXES[n] for n in reversed(kept))
    yield ImageData(
        np.asarray(stored[places].T) if isinstance(stored, np.ndarray) else stored[places].T,
        axes,
        header=Header(
            path=str(path),
            name=image.header["descrip"].item().decode("latin-1").strip(),
            pixel_size={
                letter: (float(zooms[letter]), units[letter])
                for letter in axes
                if units.get(letter) and zooms.get(letter, 0) > 0
            },
        ),
    )


def nifti_provenance(path: Path) -> dict[str, Any]:
    """Return how a file was made; empty if other software has written it."""
    for extension in _open(path).header.extensions:
        text = extension.get_content()
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        if text.startswith(EXTENSION):
            found: dict[str, Any] = json.loads(text.removeprefix(EXTENSION).rstrip("\0"))
            return found
    return {}


def write_nifti(path: Path, image: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `image`, and each of what a restoration has besides it into a file of its own beside it,
    ``image_T2.nii.gz``.

    Raises
    ------
    WriteError
        If such a file is there already, and belongs to another image.
    """
    stem, dot, suffixes = path.name.partition(".")
    beside = {
        path.with_name(f"{stem}_{one.name}{dot}{suffixes}"): one
        for one in (image.byproducts() if provenance else ())
    }
    for other in beside:
        if other.exists() and not path.exists():
            raise WriteError(f"{other} exists, and would be replaced: choose another name")
    own = Byproduct(image.header.name, image.array, image.axes, image.header.unit, "")
    source = _source(image.header)
    for target, one in {path: own, **beside}.items():
        made = _image(one, image.header, source)
        if target == path and provenance:
            _attach(made, provenance)
        with atomic_write(target) as unfinished:
            made.to_filename(unfinished)


def _open(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ReadError(describe_missing_package(path, "NIfTI", "mri")) from error
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)  # and Nifti2Image, which is one, too
    return image


def _lazy(image: Any) -> Any:
    import dask.array as da

    return da.from_array(image.dataobj, chunks="auto")  # type: ignore[no-untyped-call]


def _image(one: Byproduct, header: Header, source: Any) -> Any:
    """An image with the place in space of `source`, if it has the same grid; else with the pixel sizes
    of `header`, and without a place.
    """
    import nibabel

    present = "".join(letter for letter in AXES if letter in one.axes)
    values = one.values.transpose([one.axes.index(letter) for letter in present])
    size = dict(zip(present, values.shape, strict=True))
    length = max((AXES.index(letter) + 1 for letter in present), default=3)
    values = values.reshape([size.get(letter, 1) for letter in AXES[: max(length, 3)]])
    if values.dtype not in STORED:
        values = values.astype(np.float32)
    if source is not None and (*source.shape, 1)[:3] == values.shape[:3]:
        made = nibabel.Nifti1Image(values, source.affine, source.header)
        made.header["scl_slope"], made.header["scl_inter"] = 1, 0
        made.header["cal_min"], made.header["cal_max"] = 0, 0  # how bright the source was displayed
        made.set_data_dtype(values.dtype)
    else:
        made = nibabel.Nifti1Image(values, None)
        made.header.set_xyzt_units("mm", "sec")
        made.header.set_zooms(
            [_in_unit(header, letter, "s" if letter == "T" else "mm") for letter in AXES[: values.ndim]]
        )
    made.header["descrip"] = one.label.encode("latin-1", "replace")[:79]
    return made


def _source(header: Header) -> Any:
    """The NIfTI file that `header` is from, or None."""
    path = Path(header.path)
    return _open(path) if path.name.endswith((".nii", ".nii.gz")) and path.is_file() else None


def _in_unit(header: Header, letter: str, unit: str) -> float:
    """The pixel size along an axis; 1 if it is not known."""
    size = header.pixel_size.get(letter)
    return (convert(*size, to=unit) if size else None) or 1.0


def _attach(made: Any, provenance: Mapping[str, Any]) -> None:
    import nibabel

    text = EXTENSION + json.dumps(dict(provenance))
    made.header.extensions.clear()
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text.encode()))
