"""How a file becomes an image, and a result a file."""

from napari_dip.io.files import (
    FileFormat,
    check_writable,
    file_and_extension,
    read,
    read_auxiliary,
    read_first_image,
    read_images,
    read_provenance,
    read_recipe,
    write,
    write_image,
)
from napari_dip.io.formats import (
    ANNOTATED_SUFFIXES,
    FOLDER_SUFFIXES,
    FORMATS,
    IMAGE_SUFFIXES,
    KSPACE_SUFFIXES,
)
from napari_dip.io.image import COIL_MAPS_NAME, KSPACE_NAME, ImageData

__all__ = [
    "ANNOTATED_SUFFIXES",
    "COIL_MAPS_NAME",
    "FOLDER_SUFFIXES",
    "FORMATS",
    "IMAGE_SUFFIXES",
    "KSPACE_NAME",
    "KSPACE_SUFFIXES",
    "FileFormat",
    "ImageData",
    "check_writable",
    "file_and_extension",
    "read",
    "read_auxiliary",
    "read_first_image",
    "read_images",
    "read_provenance",
    "read_recipe",
    "write",
    "write_image",
]
