"""Point spread functions: given as an image, or by name and width."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.physics.filters import FWHM_OVER_SIGMA

Shape = Literal["auto", "none", "gaussian", "moffat", "airy"]
Fwhm = Annotated[float, Field(gt=0, le=100)]
Beta = Annotated[float, Field(gt=1, le=20)]

_REACH = {"gaussian": 1.5, "moffat": 5.0, "airy": 5.0}  # half-width in FWHM
MIN_SPOT_PEAK = 0.01  # of the maximum: fainter spots are no part of a PSF


def psf_kernels(
    data: FitData, shape: Shape, fwhm: float, beta: float, *, default: Shape
) -> list[NDArray[np.float64]]:
    """Return one PSF for each frame along T, or one for all: odd sides, centered, sum 1.

    `shape` ``"auto"`` takes the auxiliary image ``"psf"`` if there is one, else `default`.

    Raises
    ------
    ObservationError
        If that image cannot be a PSF.
    """
    sides = data.y.shape[-2:]
    if shape == "auto" and "psf" in data.auxiliary:
        images = data.auxiliary["psf"].astype(float)
        if images.shape[1] > 1:
            raise ObservationError(
                f"the PSF has {images.shape[1]} planes: give one image, or one for each frame along T"
            )
        return [_crop_to_image(_center(psf), sides) for psf in images[:, 0]]
    shape = default if shape == "auto" else shape
    return [_crop_to_image(psf_model(shape, fwhm, beta), sides)]


def psf_model(shape: str, fwhm: float, beta: float = 2.5) -> NDArray[np.float64]:
    """Return a PSF with a full width at half maximum of `fwhm` pixels, averaged over the area of each
    pixel.
    """
    if shape == "none":
        return np.ones((1, 1))
    from astropy.convolution import discretize_model
    from astropy.modeling.models import AiryDisk2D, Gaussian2D, Moffat2D

    if shape == "gaussian":
        deviation = fwhm / FWHM_OVER_SIGMA
        profile = Gaussian2D(1, 0, 0, deviation, deviation)
    elif shape == "moffat":
        profile = Moffat2D(1, 0, 0, fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1)), beta)
    else:
        profile = AiryDisk2D(1, 0, 0, fwhm * 1.21967 / 1.02899)  # its first zero, in FWHM
    half = max(1, int(np.ceil(_REACH[shape] * fwhm)))
    span = (-half, half + 1)
    finer = 2 * max(1, round(16 / fwhm)) + 1  # steps a pixel, such that narrow ones are exact
    psf = discretize_model(profile, span, span, mode="oversample", factor=finer)
    return np.asarray(psf / psf.sum())


def _center(psf: NDArray[np.float64]) -> NDArray[np.float64]:
    """`psf` about its center of mass, with odd sides and sum 1, without background and noise.

    The noise is measured in the second differences of the border: a smooth PSF that reaches the border
    has none, and is taken as it is. Otherwise spots that stand out of the noise are kept.
    """
    from scipy.ndimage import center_of_mass, label, maximum
    from scipy.ndimage import shift as shifted

    psf = np.nan_to_num(psf)
    if min(psf.shape) >= 5:
        ring = np.concatenate([psf[0], psf[1:, -1], psf[-1, -2::-1], psf[-2:0:-1, 0]])
        noise = 1.4826 * float(np.median(np.abs(np.diff(ring, 2)))) / np.sqrt(6)
        level = float(np.median(ring))
        even = float(np.median(np.abs(ring - level))) <= 3 * noise + 1e-6 * psf.max()
        if even and psf.max() - level > 10 * noise + 1e-6 * psf.max():
            psf = psf - level
            spots, number = label(psf > max(3 * noise, 1e-4 * psf.max()))
            peaks = np.asarray(maximum(psf, spots, np.arange(number + 1)))
            peaks[0] = 0  # the background
            psf = np.where((peaks > max(10 * noise, MIN_SPOT_PEAK * psf.max()))[spots], psf, 0)
    psf = np.clip(psf, 0, None)
    if not psf.sum() > 0:
        raise ObservationError("the PSF has no flux: give the image of a single star or bead")
    rows, columns = np.nonzero(psf)
    center = np.array(center_of_mass(psf))
    whole = np.round(center).astype(int)
    half = 1 + int(max(np.abs(rows - whole[0]).max(), np.abs(columns - whole[1]).max()))
    padded = np.pad(psf, half)[tuple(slice(at, at + 2 * half + 1) for at in whole)]
    off = whole - center
    if np.abs(off).max() > 0.02:  # an even number of pixels, or a star between two of them
        padded = np.clip(shifted(padded, off, order=3), 0, None)
    elif half > 1:
        padded = padded[1:-1, 1:-1]
    return np.asarray(padded / padded.sum())


def _crop_to_image(psf: NDArray[np.float64], sides: tuple[int, ...]) -> NDArray[np.float64]:
    """`psf` cropped to the size of the image.

    Raises
    ------
    ObservationError
        If that would discard a tenth of its flux.
    """
    half, most = len(psf) // 2, min(sides) // 2 - 1
    if half <= most:
        return psf
    inner = psf[half - most : half + most + 1, half - most : half + most + 1]
    if inner.sum() < 0.9:
        raise ObservationError(
            f"the PSF is wider than the image, which is {sides[1]} x {sides[0]} pixels: crop it, or give"
            " a narrower one"
        )
    return np.asarray(inner / inner.sum())
