"""How a file becomes an image, and a result a file."""

from napari_dip.io.files import (
    ASDF_SUFFIXES,
    KSPACE_SUFFIXES,
    SUFFIXES,
    check_writable,
    file_and_extension,
    first_image,
    images,
    provenance_of,
    read,
    recipe_of,
    save,
    write,
)
from napari_dip.io.image import FileImage

__all__ = [
    "ASDF_SUFFIXES",
    "KSPACE_SUFFIXES",
    "SUFFIXES",
    "FileImage",
    "check_writable",
    "file_and_extension",
    "first_image",
    "images",
    "provenance_of",
    "read",
    "recipe_of",
    "save",
    "write",
]
