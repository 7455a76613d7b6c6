"""The file formats: their suffixes, and the functions that read and write them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from napari_dip.core.errors import ReadError, WriteError


@dataclass(frozen=True)
class Format:
    """A file format: its suffixes, and the functions that read and write it.

    Functions are given as ``module:function``, and imported when a file of the format is met: each
    brings a library with it, and the dock opens without them.

    Attributes
    ----------
    name : str
        For messages.
    suffixes : tuple of str
        In lower case.
    read_images : str
        ``(path) -> iterator of ImageData``: all images of a file, one after another.
    read_named : str
        ``(path, name) -> ImageData``; empty: the images are searched for the name.
    read_provenance : str
        ``(path) -> dict``, empty for files of other software; empty: none has a provenance.
    write : str
        ``(path, image, provenance) -> None``; empty: files are only read.
    read_only_suffixes : tuple of str
        Suffixes of variants that are only read.
    is_folder : bool
        Whether an image is a folder, or a store on a server.
    """

    name: str
    suffixes: tuple[str, ...]
    read_images: str
    read_named: str = ""
    read_provenance: str = ""
    write: str = ""
    read_only_suffixes: tuple[str, ...] = ()
    is_folder: bool = False

    @property
    def written_suffixes(self) -> tuple[str, ...]:
        """The suffixes of files that are written, too."""
        return tuple(s for s in self.suffixes if not s.endswith(self.read_only_suffixes))


FORMATS = (
    Format(
        "FITS",
        (
            *(".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".ftz", ".fits.fz", ".fz"),
            *(".fits.bz2", ".fit.bz2", ".fts.bz2", ".img"),
        ),
        "napari_dip.io.fits.reader:fits_images",
        "napari_dip.io.fits.reader:fits_image",
        "napari_dip.io.fits.reader:fits_provenance",
        "napari_dip.io.fits.writer:write_fits",
        read_only_suffixes=(".bz2", ".ftz", ".img", ".fz"),
    ),
    Format(
        "TIFF",
        (".tif", ".tiff", ".stk", ".lsm", ".btf", ".tf2", ".tf8", ".svs"),
        "napari_dip.io.tiff.reader:tiff_images",
        "",
        "napari_dip.io.tiff.reader:tiff_provenance",
        "napari_dip.io.tiff.writer:write_tiff",
        read_only_suffixes=(".stk", ".lsm", ".btf", ".tf2", ".tf8", ".svs"),
    ),
    Format(
        "OME-Zarr",
        (".zarr",),
        "napari_dip.io.ome_zarr:zarr_images",
        "",
        "napari_dip.io.ome_zarr:zarr_provenance",
        "napari_dip.io.ome_zarr:write_zarr",
        is_folder=True,
    ),
    Format(
        "XISF",
        (".xisf",),
        "napari_dip.io.xisf.reader:xisf_images",
        "",
        "napari_dip.io.xisf.reader:xisf_provenance",
        "napari_dip.io.xisf.writer:write_xisf",
    ),
    Format(
        "NIfTI",
        (".nii", ".nii.gz"),
        "napari_dip.io.mri.nifti:nifti_images",
        "",
        "napari_dip.io.mri.nifti:nifti_provenance",
        "napari_dip.io.mri.nifti:write_nifti",
    ),
    Format("DICOM", (".dcm",), "napari_dip.io.mri.dicom:dicom_images"),
    Format("ASDF", (".asdf",), "napari_dip.io.asdf_reader:asdf_images"),
    Format("picture", (".jpg", ".jpeg", ".png"), "napari_dip.io.pictures:picture_images"),
    Format("k-space", (".npy", ".npz", ".h5"), "napari_dip.io.mri.arrays:kspace_images"),
)
IMAGE_SUFFIXES = tuple(s for f in FORMATS if f.write for s in f.suffixes)
# Of files of which a viewer's own readers take the pixels alone: all but pictures.
ANNOTATED_SUFFIXES = tuple(s for f in FORMATS if f.name != "picture" for s in f.suffixes)
FOLDER_SUFFIXES = tuple(s for f in FORMATS if f.is_folder for s in f.suffixes)
KSPACE_SUFFIXES = FORMATS[-1].suffixes


def format_to_read(path: str | os.PathLike[str]) -> Format:
    """Return the format that the suffix of `path` names.

    Raises
    ------
    ReadError
        If it names none, or there is no such file.
    """
    found = _format_of(path)
    if found is None and "://" not in os.fspath(path) and not Path(path).exists():
        raise ReadError(describe_missing_path(path))
    if found is None:
        known = " ".join(suffix for kind in FORMATS for suffix in kind.suffixes)
        raise ReadError(f"{path}: the suffix decides the format, and must be one of {known}")
    return found


def describe_missing_path(path: str | os.PathLike[str]) -> str:
    """Return a sentence about a path at which there is nothing."""
    if Path(path).is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which does not exist"
    kind = "folder" if Path(path).name.lower().endswith(FOLDER_SUFFIXES) else "file"
    return f"there is no {kind} {path}"


def describe_missing_package(path: str | os.PathLike[str], kind: str, extra: str) -> str:
    """Return a sentence about a file of a kind that needs the packages of an extra."""
    return f'{path}: for {kind} files another package is needed: pip install "napari-dip[{extra}]"'


def format_to_write(path: str | os.PathLike[str]) -> Format:
    """Return the format that the suffix of `path` names, if it can be written.

    Raises
    ------
    WriteError
        If it names none, or one that is only read.
    """
    found = _format_of(path)
    if found is None or not found.write:
        known = " ".join(s for f in FORMATS if f.write for s in f.written_suffixes)
        raise WriteError(f"{path}: the suffix decides the format, and must be one of {known}")
    if not Path(path).name.lower().endswith(found.written_suffixes):
        raise WriteError(f"{path}: files of this kind are only read; write {found.written_suffixes[0]}")
    return found


def _format_of(path: str | os.PathLike[str]) -> Format | None:
    name = Path(path).name.lower()
    return next((kind for kind in FORMATS if name.endswith(kind.suffixes)), None)
