"""Files in and out: the suffix chooses the format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io.atomic import OTHER_TIFF_SUFFIXES, check_output_path
from napari_dip.io.image import ImageData

T = TypeVar("T")
FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz", ".fz")
TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*FITS_SUFFIXES, *TIFF_SUFFIXES, *OTHER_TIFF_SUFFIXES)
ASDF_SUFFIXES = (".asdf",)
KSPACE_SUFFIXES = (".npy", ".npz", ".h5")  # which are only read
_READ_ONLY_SUFFIXES = (*ASDF_SUFFIXES, *KSPACE_SUFFIXES)  # FITS nor TIFF

__all__ = [
    "ASDF_SUFFIXES",
    "KSPACE_SUFFIXES",
    "OTHER_TIFF_SUFFIXES",
    "SUFFIXES",
    "ImageData",
    "check_writable",
    "file_and_extension",
    "read",
    "read_first_image",
    "read_images",
    "read_provenance",
    "read_recipe",
    "write",
    "write_image",
]


def read(*paths: str | os.PathLike[str], flags: Collection[int] | None = None) -> Observation:
    """The first image of a file, with its holes, its noise and its header.

    Parameters
    ----------
    *paths : path
        ``.fits .fit .fts .fits.gz .fits.fz .fz`` or ``.tif .tiff``, in any case; FITS also with the
        name or number of an extension, ``frame.fits[SCI]``. Several files of one shape become
        frames along T. ``.asdf`` needs the extra ``asdf``; ``.npy .npz .h5`` are k-space
        (docs/formats.md).
    flags : collection of int, optional
        Which flags of a quality plane are holes, as its bits' values (1, 2, 4 ...) or its codes; else
        those of the telescope's convention.

    Raises
    ------
    ReadError
        If there is no such file, or no image or quality plane in it, or several do not fit each other.
    ObservationError
        If there is nothing to restore in the image.
    """
    found = [read_first_image(path) for path in paths]
    if flags is not None:
        found = [image.with_bad_flags(flags) for image in found]
    return (ImageData.stack(found) if len(found) > 1 else found[0]).to_observation()


def read_first_image(path: str | os.PathLike[str]) -> ImageData:
    """The first image of a file, or the one in brackets, ``psf.fits[PSF]``; no other is looked at.

    Raises
    ------
    ReadError
        If there is no such file, or no image in it.
    """
    file, name = file_and_extension(path)
    if name:
        return _read_named(file, name)
    return _call_reader(path, lambda p: next(_images(p)))


def file_and_extension(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file that `path` means, and the extension's name in brackets after it, or nothing."""
    bracketed = re.fullmatch(r"(.+)\[([^\[\]]+)\]", os.fspath(path))
    if bracketed and not Path(path).exists():
        return Path(bracketed[1]), bracketed[2]
    return Path(path), ""


def _read_named(path: Path, name: str) -> ImageData:
    if path.suffix.lower() not in _READ_ONLY_SUFFIXES and _is_fits(path):
        from napari_dip.io.fits.reader import fits_image

        return _call_reader(path, lambda p: fits_image(p, name))
    found = read_images(path)
    for image in found:
        if name.upper() == image.header.name.upper() or name == str(image.header.hdu):
            return image
    have = ", ".join(image.header.name or str(image.header.hdu) for image in found)
    raise ReadError(f"{path} has no image '{name}'; it has {have}")


def read_images(path: str | os.PathLike[str]) -> list[ImageData]:
    """Every image of a file: at least one.

    Raises
    ------
    ReadError
        If there is no such file, or no image in it.
    """
    return _call_reader(path, lambda p: list(_images(p)))


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How the file at `path` was made, as `Result.provenance`; its ``"recipe"`` at the least.

    Raises
    ------
    ReadError
        If we did not write that file.
    """
    found = _call_reader(path, _provenance)
    if not found:
        raise ReadError(f"{path} carries no recipe: it was not written by napari-dip")
    return found


def read_recipe(path: str | os.PathLike[str]) -> str:
    """The JSON of the recipe that made the file at `path`.

    Raises
    ------
    ReadError
        If we did not write that file.
    """
    return json.dumps(read_provenance(path)["recipe"])


def write(
    path: str | os.PathLike[str],
    result: Result,
    *,
    overwrite: bool = False,
    dtype: DTypeLike = np.float32,
    imagej: bool = False,
) -> float:
    """Write a result, with all that its input's file said and the recipe that made it.

    The file appears whole or not at all. FITS keeps the input's other HDUs and every card that is
    still true; TIFF is OME-TIFF. Filled pixels are marked in an image of their own, FILLED; the
    uncertainty, where there is one, is in UNCERT, and what is left of the data, in standard deviations
    of their noise, in RESIDUAL.

    Parameters
    ----------
    path : path
        Where to.
    result : Result
        What to write.
    overwrite : bool
        Whether a file that is there may be replaced.
    dtype : type of number
        float32, or one of whole numbers: then values are rounded, and clipped at the type's ends.
    imagej : bool
        Write ImageJ's own TIFF, which holds the image and its recipe alone.

    Returns
    -------
    float
        What part of the pixels was clipped; 0 as float32.

    Raises
    ------
    WriteError
        If the folder, the suffix or the disk does not allow it, or the file exists and may not be
        replaced, or the type is none of those.
    """
    picture, record, clipped = ImageData.from_result(result), dict(result.metadata), 0.0
    if np.dtype(dtype) != np.float32:
        picture, clipped = picture.to_integer(dtype)
        record["stored"] = {"dtype": str(np.dtype(dtype)), "clipped": clipped}
    write_image(path, picture, record, overwrite=overwrite, imagej=imagej)
    return clipped


def write_image(
    path: str | os.PathLike[str],
    image: ImageData,
    provenance: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    imagej: bool = False,
) -> None:
    """Write any image in its own type, with its header; `provenance` as `Result.record`.

    Raises
    ------
    WriteError
        As for `write`; also if `path` is the file that the image was read from.
    """
    check_writable(path, overwrite=overwrite, imagej=imagej)
    target, source = Path(path), Path(image.header.path)
    if image.header.path and target.exists() and source.exists() and target.samefile(source):
        raise WriteError(f"{path} is the file the image came from; choose another name")
    try:
        _write(target, image, provenance or {}, imagej)
    except (MemoryError, WriteError):
        raise
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error
    except Exception as error:  # astropy and tifffile raise nearly everything
        raise WriteError(f"{path} could not be written: {_first_line(error)}") from error


def check_writable(
    path: str | os.PathLike[str], *, overwrite: bool = False, imagej: bool = False
) -> None:
    """Find out before the work whether `write` has a chance.

    Raises
    ------
    WriteError
        As `write` would.
    """
    try:
        is_fits = _is_fits(path)
    except ReadError as error:
        raise WriteError(str(error)) from error
    if is_fits and imagej:
        raise WriteError(f"{path}: ImageJ's own files are TIFF; write .tif")
    check_output_path(Path(path), overwrite=overwrite)


# A format's module, and the library behind it, is imported when a file of that format is met: the
# dock opens without them.


def _images(path: Path) -> Iterator[ImageData]:
    if path.suffix.lower() in KSPACE_SUFFIXES:
        from napari_dip.io.mri.arrays import kspace_images

        return kspace_images(path)
    if path.suffix.lower() in ASDF_SUFFIXES:
        from napari_dip.io.asdf_reader import asdf_images

        return asdf_images(path)
    if _is_fits(path):
        from napari_dip.io.fits.reader import fits_images

        return fits_images(path)
    from napari_dip.io.tiff.reader import tiff_images

    return tiff_images(path)


def _provenance(path: Path) -> dict[str, Any]:
    if path.suffix.lower() in _READ_ONLY_SUFFIXES:
        return {}
    if _is_fits(path):
        from napari_dip.io.fits.reader import fits_provenance

        return fits_provenance(path)
    from napari_dip.io.tiff.reader import tiff_provenance

    return tiff_provenance(path)


def _write(path: Path, picture: ImageData, provenance: Mapping[str, Any], imagej: bool) -> None:  # noqa: FBT001
    if _is_fits(path):
        from napari_dip.io.fits.writer import write_fits

        return write_fits(path, picture, provenance)
    from napari_dip.io.tiff.writer import write_imagej, write_tiff

    return (write_imagej if imagej else write_tiff)(path, picture, provenance)


def _is_fits(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix says FITS, and not TIFF; it has to say one of them."""
    name = Path(path).name.lower()
    if not name.endswith(SUFFIXES):
        known = " ".join((*SUFFIXES, *_READ_ONLY_SUFFIXES))
        raise ReadError(f"{path}: the format is told by the suffix, one of {known}")
    return name.endswith(FITS_SUFFIXES)


def _call_reader(path: str | os.PathLike[str], use: Callable[[Path], T]) -> T:
    """What `use` makes of the file at `path`; whatever goes wrong is told in a sentence."""
    file = Path(path)
    if not file.exists():
        raise ReadError(f"there is no file {path}")
    if not file.is_file():
        raise ReadError(f"{path} is a folder or a device, not a file")
    try:
        return use(file)
    except (ReadError, MemoryError):
        raise
    except Exception as error:  # the libraries raise nearly everything on broken files
        raise ReadError(f"{path} cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
