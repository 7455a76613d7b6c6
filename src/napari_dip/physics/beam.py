"""The beam of a radio telescope, which smooths the noise of its maps."""

from __future__ import annotations

import math

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.header import Header
from napari_dip.physics.detector import Cards
from napari_dip.physics.filters import FWHM_OVER_SIGMA

MIN_SIGMA_PX = 1.0  # narrower beams leave noise that can be measured as any other
LAG_SIGMAS = 4.0  # distance of two pixels whose noise is independent


def beam_sigma(header: Header, y: FloatArray) -> float:
    """Return the standard deviation of the beam that the header gives, as a circle of the same area.

    It is 0 if there is none, or if it is hardly wider than a pixel. [pixel]
    """
    size = header.pixel_size
    if not header.fits_header or not {"X", "Y"} <= set(size) or size["X"][1] != "arcsec":
        return 0.0
    cards = Cards(header, y)
    major, minor = (cards.first((keyword,)) for keyword in ("BMAJ", "BMIN"))
    if major is None or minor is None:
        return 0.0
    area = 3600**2 * major * minor / (size["X"][0] * size["Y"][0])
    sigma = math.sqrt(area) / FWHM_OVER_SIGMA
    return sigma if sigma >= MIN_SIGMA_PX else 0.0


def estimate_beam_noise(y: FloatArray, sigma_px: float) -> float:
    """Return the standard deviation of noise that a beam smoothed, from pixels that are further apart.

    Parameters
    ----------
    y : (T, C, Y, X) float32
        The map; NaN where nothing is observed.
    sigma_px : float
        Standard deviation of the beam. [pixel]
    """
    from astropy.stats import mad_std  # takes a second to import

    lag = math.ceil(LAG_SIGMAS * sigma_px)
    differences = y[..., lag:] - y[..., :-lag], y[..., lag:, :] - y[..., :-lag, :]
    return min(float(mad_std(d[np.isfinite(d)].astype(float))) for d in differences) / math.sqrt(2)
