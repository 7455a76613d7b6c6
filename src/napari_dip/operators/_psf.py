"""Point spread functions: given as a picture, or by name and width."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.errors import ObservationError
from napari_dip.observation import Observation

Shape = Literal["auto", "none", "gaussian", "moffat", "airy"]
Fwhm = Annotated[float, Field(gt=0, le=100)]
Beta = Annotated[float, Field(gt=1, le=20)]

_REACH = {"gaussian": 1.5, "moffat": 5.0, "airy": 5.0}  # half-width in FWHM


def kernels(
    frame: Observation, shape: Shape, fwhm: float, beta: float, *, absent: Shape
) -> list[NDArray[np.float64]]:
    """One PSF for each frame along T, or one for all: odd sides, centred, sum 1.

    `shape` ``"auto"`` takes the companion ``"psf"`` where there is one, else `absent`.

    Raises
    ------
    ObservationError
        If the companion cannot be a PSF.
    """
    if shape == "auto" and "psf" in frame.extras:
        return [_centred(psf, frame) for psf in frame.extras["psf"].astype(float).mean(axis=(1, 2))]
    shape = absent if shape == "auto" else shape
    return [model(shape, fwhm, beta)]


def model(shape: str, fwhm: float, beta: float = 2.5) -> NDArray[np.float64]:
    """A PSF of full width at half maximum `fwhm` in pixels, averaged over each pixel's area."""
    if shape == "none":
        return np.ones((1, 1))
    from astropy.convolution import discretize_model
    from astropy.modeling.models import AiryDisk2D, Gaussian2D, Moffat2D

    if shape == "gaussian":
        deviation = fwhm / np.sqrt(8 * np.log(2))
        profile = Gaussian2D(1, 0, 0, deviation, deviation)
    elif shape == "moffat":
        profile = Moffat2D(1, 0, 0, fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1)), beta)
    else:
        profile = AiryDisk2D(1, 0, 0, fwhm * 1.21967 / 1.02899)  # its first zero, in FWHM
    half = max(1, int(np.ceil(_REACH[shape] * fwhm)))
    span = (-half, half + 1)
    psf = discretize_model(profile, span, span, mode="oversample", factor=11)
    return np.asarray(psf / psf.sum())


def _centred(psf: NDArray[np.float64], frame: Observation) -> NDArray[np.float64]:
    """`psf` about its centroid, to the nearest pixel; even background taken off, sum 1."""
    psf = np.nan_to_num(psf)
    border = np.concatenate([psf[0], psf[-1], psf[1:-1, 0], psf[1:-1, -1]])
    psf = psf - np.median(border)
    if not psf.sum() > 0:
        raise ObservationError(
            "the PSF is not brighter than its border: give the picture of one star or bead, alone"
        )
    psf = np.clip(psf, 0, None)
    psf[psf < 1e-4 * psf.max()] = 0
    rows, columns = np.nonzero(psf)
    weights = psf[rows, columns]
    row, column = (round(float(np.average(at, weights=weights))) for at in (rows, columns))
    half = int(max(np.abs(rows - row).max(), np.abs(columns - column).max()))
    half = min(half, min(frame.y.shape[-2:]) // 2 - 1)
    padded = np.pad(psf, half)[row : row + 2 * half + 1, column : column + 2 * half + 1]
    return np.asarray(padded / padded.sum())
