"""A simulated star field."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from astropy.modeling.models import Sersic2D
from astropy.wcs import WCS
from numpy.typing import NDArray

GAIN_E_PER_ADU = 1.9
READ_NOISE_E = 5.0
SATURATION_ADU = 30_000.0  # above the bias
SKY_ADU = 100.0


def star_field(seed: int = 0, *, side: int = 192, stars: int = 90) -> fits.HDUList:
    """Simulate a CCD image of a star field with a galaxy.

    Photon and read noise, stars of FWHM 2.6 pixels over four decades of flux, some of them
    saturated, a Sersic galaxy, a dead column (NaN) and cosmic rays.

    Parameters
    ----------
    seed : int
        Of all random numbers.
    side : int
        Height and width. [pixel]
    stars : int
        Number of stars.

    Returns
    -------
    HDUList
        PRIMARY: (side, side) float32 in adu, bias subtracted, with WCS, GAIN, RDNOISE and SATURATE.
        DQ: uint8; 1 dead, 2 saturated, 4 cosmic ray. TRUTH: the scene without noise, in adu.

    Examples
    --------
    >>> from napari_dip.datasets import star_field
    >>> [hdu.name for hdu in star_field(side=64)]
    ['PRIMARY', 'DQ', 'TRUTH']
    """
    rng = np.random.default_rng(seed)
    truth = _scene(rng, side, stars)
    electrons = rng.poisson(truth * GAIN_E_PER_ADU) + rng.normal(0, READ_NOISE_E, truth.shape)
    frame = electrons / GAIN_E_PER_ADU
    flags = np.zeros(truth.shape, np.uint8)
    flags[np.minimum(frame, truth) >= SATURATION_ADU] |= 2
    frame = np.minimum(frame, SATURATION_ADU)
    tracks = _cosmic_rays(rng, side)
    frame[tracks > 0] += tracks[tracks > 0]
    flags[tracks > 0] |= 4
    dead = side * 2 // 3
    frame[:, dead] = np.nan
    flags[:, dead] |= 1

    header = _pointing(side).to_header()
    header["OBJECT"] = "simulated star field"
    header["BUNIT"] = "adu"
    header["GAIN"] = (GAIN_E_PER_ADU, "[electron/adu]")
    header["RDNOISE"] = (READ_NOISE_E, "[electron]")
    header["SATURATE"] = (SATURATION_ADU, "[adu]")
    header["SIMSEED"] = (seed, "seed of the simulation")
    return fits.HDUList(
        [
            fits.PrimaryHDU(frame.astype(np.float32), header),
            fits.ImageHDU(flags, name="DQ"),
            fits.ImageHDU(truth.astype(np.float32), header, name="TRUTH"),
        ]
    )


def _scene(rng: np.random.Generator, side: int, stars: int) -> NDArray[np.float64]:
    y, x = np.mgrid[:side, :side].astype(float)
    galaxy = Sersic2D(
        amplitude=120, r_eff=side / 11, n=2, x_0=side * 0.33, y_0=side * 0.6, ellip=0.5, theta=0.6
    )
    scene: NDArray[np.float64] = SKY_ADU + galaxy(x, y)
    sigma = 2.6 / np.sqrt(8 * np.log(2))
    flux = 10 ** rng.uniform(2.3, 6.2, stars) * rng.uniform(0, 1, stars) ** 2
    for star, (row, column) in zip(flux, rng.uniform(0, side, (stars, 2)), strict=True):
        square = (y - row) ** 2 + (x - column) ** 2
        scene += star / (2 * np.pi * sigma**2) * np.exp(-square / (2 * sigma**2))
    return scene


def _cosmic_rays(rng: np.random.Generator, side: int, number: int = 12) -> NDArray[np.float64]:
    tracks = np.zeros((side, side))
    for _ in range(number):
        row, column = rng.uniform(8, side - 8, 2)
        angle, length = rng.uniform(0, np.pi), rng.uniform(1, 8)
        for along in np.arange(0, length, 0.5):
            here = int(row + along * np.sin(angle)), int(column + along * np.cos(angle))
            tracks[here] = rng.uniform(500, 5000)
    return tracks


def _pointing(side: int) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [250.4235, 36.4613]
    wcs.wcs.crpix = [side / 2 + 0.5, side / 2 + 0.5]
    wcs.wcs.cdelt = [-1.2 / 3600, 1.2 / 3600]
    wcs.wcs.cunit = ["deg", "deg"]
    return wcs
