"""What is known about the noise of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_dip.core.axes import FloatArray

NoiseKind = Literal["white", "correlated", "structured", "heavy-tailed", "clipped"]
SAME_SIGMA = 1.1  # largest over smallest sigma of planes that are given as one number


@dataclass(frozen=True, eq=False, repr=False)
class NoiseProperties:
    """Strength and kind of the noise, and where these numbers come from.

    Attributes
    ----------
    sigma : float32 array, (T, C, 1, 1) or (T, C, Y, X)
        Standard deviation of the noise at the background, in data units; NaN where nothing is observed.
    source : str
        Where the numbers come from: ``"given"``, ``"estimated"``, ``"header: gain 1.9 ..."``.
    kind : str
        ``"white"``: independent from pixel to pixel, and Gaussian or as the noise model says.
        ``"correlated"``: white noise smoothed by a Gaussian, as resampling does. ``"structured"``:
        correlated in any other way, or of uneven strength. ``"heavy-tailed"``: with outliers.
        ``"clipped"``: cut off at the limits of the detector.
    correlation_sigma : float
        Standard deviation of the Gaussian that smoothed correlated noise; 0 otherwise. [pixel]
    limits : (float, float)
        Smallest and largest value that the detector can report, in data units.
    is_given : bool
        Whether the settings or an error plane specify it; otherwise it is measured, or the header's.
    is_uniform : bool
        Whether it is given as one number for all pixels, so that bright ones have no more noise.
    measured_ratio : float
        Measured noise over the specified noise; 1 where they agree or it cannot be measured.
    is_measurable : bool
        Whether an image whose noise is estimated shows any; otherwise sigma is a lower bound.
    header_rejected : bool
        Whether the image contradicts the gain and read noise of its header, so that the noise was
        measured instead.
    """

    sigma: FloatArray
    source: str
    kind: NoiseKind = "white"
    correlation_sigma: float = 0.0
    limits: tuple[float, float] = (-math.inf, math.inf)
    is_given: bool = False
    is_uniform: bool = False
    measured_ratio: float = 1.0
    is_measurable: bool = True
    header_rejected: bool = False

    @property
    def can_be_sampled(self) -> bool:
        """Whether noise with the same statistics can be drawn."""
        return self.kind in ("white", "correlated")

    @property
    def contradiction(self) -> str:
        """How the image contradicts the noise that was given, as a clause; empty if it does not."""
        if not self.is_given or self.measured_ratio == 1:
            return ""
        measured = self.measured_ratio * self.median_sigma
        return f"the noise is given as {self.median_sigma:.4g}, but measured as {measured:.4g}"

    @property
    def split_scale(self) -> float:
        """Strength of the noise that is drawn to split data, over sigma: at most 1.

        If more noise is drawn than the data have, a fit to the split data turns the noise upside down.
        """
        return min(self.measured_ratio, 1.0) if self.is_given else 1.0

    @property
    def median_sigma(self) -> float:
        """Median of the known standard deviations, in data units; NaN if there are none."""
        known = self.sigma[np.isfinite(self.sigma)]
        return float(np.median(known)) if known.size else math.nan

    @property
    def sigma_text(self) -> str:
        """The standard deviations of the planes as one number, or as a range."""
        known = [plane[np.isfinite(plane)] for row in self.sigma for plane in row]
        return sigma_text([float(np.median(plane)) for plane in known if plane.size])

    def __repr__(self) -> str:
        correlation = (
            f", correlation_sigma={self.correlation_sigma:.2g}" if self.correlation_sigma else ""
        )
        sigma = f"sigma={self.median_sigma:.4g}"
        return f"NoiseProperties({sigma}, kind={self.kind!r}{correlation}, source={self.source!r})"


def sigma_text(sigmas: Sequence[float]) -> str:
    """Return standard deviations as one number where they agree, else as a range.

    Examples
    --------
    >>> sigma_text([12.0, 12.3, 12.1])
    '12.1'
    >>> sigma_text([4.0, 12.0])
    '4 to 12'
    """
    if not sigmas:
        return "unknown"
    low, high = min(sigmas), max(sigmas)
    return f"{low:.4g} to {high:.4g}" if high > SAME_SIGMA * low else f"{np.median(sigmas):.4g}"
