"""The functions of the package: one call from an image to a restored image."""

from napari_dip.run.api._coadd import coadd
from napari_dip.run.api._deconvolve import deconvolve
from napari_dip.run.api._denoise import denoise
from napari_dip.run.api._inpaint import inpaint
from napari_dip.run.api._maps import fit_maps
from napari_dip.run.api._mri import correct_motion, reconstruct_mri
from napari_dip.run.api._noise import estimate_noise
from napari_dip.run.api._restore import iter_restore, restore
from napari_dip.run.api._super_resolve import super_resolve

__all__ = [
    "coadd",
    "correct_motion",
    "deconvolve",
    "denoise",
    "estimate_noise",
    "fit_maps",
    "inpaint",
    "iter_restore",
    "reconstruct_mri",
    "restore",
    "super_resolve",
]
