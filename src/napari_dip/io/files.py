"""Files in and out: the suffix decides the format."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike

from napari_dip.core.errors import ReadError, ReadWarning, WriteError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io.atomic import check_output_path
from napari_dip.io.formats import format_to_read, format_to_write
from napari_dip.io.image import KSPACE_NAME, ImageData
from napari_dip.io.reading import call_reader, first_line, format_function, read_with_remarks

FileFormat = Literal["auto", "imagej"]


def read(
    *paths: str | os.PathLike[str], bad_flags: Collection[int] | None = None, axes: str | None = None
) -> Observation:
    """Read the first image of a file, with its mask, noise and header.

    Parameters
    ----------
    *paths : path
        ``.fits .fit .fts .fits.gz .fits.fz .fz`` or ``.tif .tiff``, in any case; of FITS also with the
        name or number of an extension, ``image.fits[SCI]``. Several files of one shape become frames
        along T. ``.zarr`` is a folder, or an address such as ``s3://bucket/image.zarr`` (fsspec).
        ``.jpg .jpeg .png`` are only read; ``.asdf`` needs the extra ``asdf``; ``.npy .npz .h5``
        are k-space.
    bad_flags : collection of int, optional
        Flags of a quality plane that are treated as missing, as values of bits (1, 2, 4 ...) or as
        codes. Default: those of the telescope's convention.
    axes : str, optional
        One letter for each axis, from T, C, Z, Y, X. Default: what the file says.

    Returns
    -------
    Observation

    Raises
    ------
    ReadError
        If a file does not exist, or has no image or quality plane, or several do not match.
    ObservationError
        If there is nothing to restore in the image.

    Examples
    --------
    >>> import napari_dip as dip
    >>> observation = dip.read("image.fits[SCI]", bad_flags=[1, 4])  # doctest: +SKIP
    """
    images = [read_first_image(path) for path in paths]
    if bad_flags is not None:
        images = [image.with_bad_flags(bad_flags) for image in images]
    image = ImageData.stack(images) if len(images) > 1 else images[0]
    return (image if axes is None else image.with_axes(axes)).to_observation()


def read_first_image(path: str | os.PathLike[str]) -> ImageData:
    """Read the first image of a file, or the one in brackets, ``psf.fits[PSF]``, and no other.

    Raises
    ------
    ReadError
        If there is no such file, or no image in it.
    """
    file, name = file_and_extension(path)
    if name:
        return _read_named(file, name)
    read_all = format_function(path, "read_images")

    def read_one(p: Path) -> list[ImageData]:
        image: ImageData = next(read_all(p))
        if image.others:
            warnings.warn(
                f"{path} has {1 + len(image.others)} images, and the first is read: for another one,"
                f" write its name or number in brackets, [{image.others[0]}]",
                ReadWarning,
                stacklevel=5,
            )
        return [image]

    return read_with_remarks(path, read_one)[0]


def read_auxiliary(path: str | os.PathLike[str]) -> ImageData:
    """Read auxiliary data as `read_first_image` does.

    Raises
    ------
    ReadError
        As there; or if the first array of a file with several is k-space.
    """
    image = read_first_image(path)
    file, name = file_and_extension(path)
    if not name and image.header.name == KSPACE_NAME and file.suffix.lower() != ".npy":
        raise ReadError(
            f"{path}: the first array is the k-space itself: write the name of another one in brackets,"
            f" such as '{file.name}[coils]'"
        )
    return image


def file_and_extension(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the file of `path`, and the name of the extension in brackets, or an empty string."""
    bracketed = re.fullmatch(r"(.+)\[([^\[\]]+)\]", os.fspath(path))
    if bracketed and not Path(path).exists():
        return Path(bracketed[1]), bracketed[2]
    return Path(path), ""


def read_images(path: str | os.PathLike[str]) -> list[ImageData]:
    """Read all images of a file.

    Raises
    ------
    ReadError
        If there is no such file, or no image in it.
    """
    read_all = format_function(path, "read_images")
    return read_with_remarks(path, lambda p: list(read_all(p)))


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read how the file at `path` was made, as `Result.metadata`; at least its ``"recipe"``.

    Raises
    ------
    ReadError
        If it was not written by napari-dip.
    """
    has_provenance = bool(format_to_read(path).read_provenance)
    provenance = call_reader(path, format_function(path, "read_provenance")) if has_provenance else {}
    if not provenance:
        raise ReadError(f"{path} has no recipe: it was not written by napari-dip")
    return provenance


def read_recipe(path: str | os.PathLike[str]) -> str:
    """Read the recipe that made the file at `path`, as JSON.

    Raises
    ------
    ReadError
        If it was not written by napari-dip.

    Examples
    --------
    >>> import napari_dip as dip
    >>> dip.write("restored.fits", dip.denoise("image.fits"))  # doctest: +SKIP
    0.0
    >>> dip.Recipe.from_json(dip.read_recipe("restored.fits")).title  # doctest: +SKIP
    'Denoise'
    """
    return json.dumps(read_provenance(path)["recipe"])


def write(
    path: str | os.PathLike[str],
    result: Result,
    *,
    overwrite: bool = False,
    dtype: DTypeLike = np.float32,
    format: FileFormat = "auto",  # noqa: A002
) -> float:
    """Write a result, with all that the file of its input says and the recipe that made it.

    The file appears completely or not at all. FITS keeps the other HDUs of the input, and each card that
    is still true; TIFF is OME-TIFF. Inpainted pixels are marked in an image of their own, FILLED; the
    uncertainty, if any, is in UNCERT, and the normalized residual in RESIDUAL.

    Parameters
    ----------
    path : path
        Where to; the suffix decides the format.
    result : Result
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.
    dtype : data type
        float32, or an integer type: then values are rounded, and clipped at the ends of the type.
    format : {"auto", "imagej"}
        ``"imagej"`` writes an ImageJ TIFF, which has the image and its recipe alone.

    Returns
    -------
    float
        Fraction of the pixels that were clipped; 0 for float32.

    Raises
    ------
    WriteError
        If folder, suffix, type or disk do not allow it, or the file exists and may not be replaced.

    Examples
    --------
    >>> import napari_dip as dip
    >>> dip.write("restored.fits", dip.denoise("image.fits"))  # doctest: +SKIP
    0.0
    """
    image, metadata, clipped = ImageData.from_result(result), dict(result.metadata), 0.0
    if np.dtype(dtype) != np.float32:
        image, clipped = image.to_integer(dtype)
    if np.dtype(dtype) != np.float32 or format != "auto":
        metadata["stored"] = {"dtype": str(np.dtype(dtype)), "clipped": clipped, "format": format}
    write_image(path, image, metadata, overwrite=overwrite, format=format)
    return clipped


def write_image(
    path: str | os.PathLike[str],
    image: ImageData,
    provenance: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    format: FileFormat = "auto",  # noqa: A002
) -> None:
    """Write any image in its own type, with its header; `provenance` as `Result.metadata`.

    Raises
    ------
    WriteError
        As for `write`; also if `path` is the file that the image was read from.
    """
    check_writable(path, overwrite=overwrite, format=format)
    target, source = Path(path), Path(image.header.path)
    if image.header.path and target.exists() and source.exists() and target.samefile(source):
        raise WriteError(f"{path} is the file the image was read from: choose another name")
    imagej = "napari_dip.io.tiff.writer:write_imagej"
    write_file = resolve_name(imagej if format == "imagej" else format_to_write(path).write)
    try:
        write_file(target, image, provenance or {})
    except (MemoryError, WriteError):
        raise
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error
    except Exception as error:  # astropy and tifffile raise nearly everything
        raise WriteError(f"{path} could not be written: {first_line(error)}") from error


def check_writable(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    format: FileFormat = "auto",  # noqa: A002
) -> None:
    """Check before the work whether `write` can succeed.

    Raises
    ------
    WriteError
        As `write` would.
    """
    if format not in get_args(FileFormat):
        raise WriteError(f"there is no format '{format}': choose {', '.join(get_args(FileFormat))}")
    target = format_to_write(path)
    if format == "imagej" and target.name != "TIFF":
        raise WriteError(f"{path}: ImageJ files are TIFF; write .tif")
    check_output_path(Path(path), overwrite=overwrite, is_folder=target.is_folder)


def _read_named(path: Path, name: str) -> ImageData:
    if format_to_read(path).read_named:
        read_one = format_function(path, "read_named")
        return read_with_remarks(path, lambda p: [read_one(p, name)])[0]
    images = read_images(path)
    for image in images:
        if name.upper() == image.header.name.upper() or name == str(image.header.hdu):
            return image
    have = ", ".join(image.header.name or str(image.header.hdu) for image in images)
    raise ReadError(f"{path} has no image '{name}'; it has {have}")
