"""Calls of the functions that read a format: errors become sentences, and warnings remarks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

from napari_dip.core.errors import ReadError, ReadWarning
from napari_dip.io.formats import describe_missing_path, format_to_read
from napari_dip.io.image import ImageData
from napari_dip.io.protocol import protocol_beside

T = TypeVar("T")


def format_function(path: str | os.PathLike[str], name: str) -> Callable[..., Any]:
    """Return a function of the format of `path`; it is found when it is called, as part of reading."""

    def call(*arguments: Any) -> Any:
        return resolve_name(getattr(format_to_read(path), name))(*arguments)

    return call


def read_with_remarks(
    path: str | os.PathLike[str], reader: Callable[[Path], list[ImageData]]
) -> list[ImageData]:
    """Return images that keep what was warned of when their file was read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ReadWarning)
        images = call_reader(path, reader)
        beside = {} if format_to_read(path).is_folder else protocol_beside(Path(path))
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    remarks = tuple({str(w.message): None for w in caught if issubclass(w.category, ReadWarning)})
    headers = (
        replace(image.header, remarks=remarks, protocol=image.header.protocol or beside)
        for image in images
    )
    return [replace(image, header=header) for image, header in zip(images, headers, strict=True)]


def call_reader(path: str | os.PathLike[str], reader: Callable[[Path], T]) -> T:
    """Return what `reader` makes of the file at `path`; whatever goes wrong becomes one sentence."""
    file, is_folder = Path(path), format_to_read(path).is_folder
    is_remote = is_folder and "://" in os.fspath(path)
    if not is_remote and not file.exists():
        raise ReadError(describe_missing_path(path))
    if not is_remote and not (file.is_dir() if is_folder else file.is_file()):
        kind = "a file, not a folder" if is_folder else "a folder or a device, not a file"
        raise ReadError(f"{path} is {kind}")
    try:
        return reader(path if is_remote else file)  # type: ignore[arg-type]
    except (ReadError, MemoryError):
        raise
    except Exception as error:  # the libraries raise nearly everything on broken files
        raise ReadError(f"{path} cannot be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error, or its type."""
    return str(error).strip().split("\n")[0] or type(error).__name__
