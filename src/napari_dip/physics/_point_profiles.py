"""Points between pixels, and their images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import spline_filter
from scipy.stats import norm

from napari_dip.physics.filters import FWHM_OVER_SIGMA

Array = NDArray[np.float64]

SPLINE_ORDER, SPLINE_REACH = 5, 3  # of a B-spline; half of its width [pixel]
GAUSSIAN_REACH_FWHM = 2.5  # beyond which a Gaussian is 0


class Profile(ABC):
    """A point spread function between its pixels.

    Attributes
    ----------
    fwhm : float
        Full width at half maximum. [pixel]
    half : int
        Half of its side. [pixel]
    """

    fwhm: float
    half: int

    @property
    def variance(self) -> float:
        """Of a Gaussian of the same width. [pixel^2]"""
        return (self.fwhm / FWHM_OVER_SIGMA) ** 2

    @abstractmethod
    def stamps(
        self, fractions: Array, half: int | None = None, order: tuple[int, int] = (0, 0)
    ) -> Array:
        """Return images (N, K, K) of points at `fractions` (N, 2) of a pixel from their centers.

        They have `half` of a side of its own, or that of the profile, and are derivatives of an `order`
        along Y and X.
        """


class SampledProfile(Profile):
    """An image (N, N) of a point, with an odd side and the sum 1, interpolated by splines."""

    def __init__(self, psf: Array) -> None:
        self.half = len(psf) // 2
        self.fwhm = 2 * float(np.sqrt(np.count_nonzero(psf > psf.max() / 2) / np.pi))
        self._coefficients = spline_filter(np.pad(psf, 2 * SPLINE_REACH), order=SPLINE_ORDER)

    def stamps(
        self, fractions: Array, half: int | None = None, order: tuple[int, int] = (0, 0)
    ) -> Array:
        """See `Profile.stamps`."""
        half = self.half if half is None else min(half, self.half)
        shifts = np.arange(-SPLINE_REACH, SPLINE_REACH + 1)
        spline = BSpline.basis_element(shifts, extrapolate=False)
        weights = [
            np.nan_to_num(spline(-along[:, None] - shifts, nu=nu))
            for along, nu in zip(fractions.T, order, strict=True)
        ]
        first, side = self.half + SPLINE_REACH - half, 2 * half + 1
        windows = sliding_window_view(self._coefficients, (side, side))
        windows = windows[first : first + len(shifts), first : first + len(shifts)]
        pairs = (weights[0][:, :, None] * weights[1][:, None, :]).reshape(-1, len(shifts) ** 2)
        return np.asarray((pairs @ windows.reshape(-1, side**2)).reshape(-1, side, side))


class GaussianProfile(Profile):
    """A Gaussian, averaged over the area of each pixel."""

    def __init__(self, fwhm: float) -> None:
        self.fwhm, self.half = fwhm, int(np.ceil(GAUSSIAN_REACH_FWHM * fwhm))

    def stamps(
        self, fractions: Array, half: int | None = None, order: tuple[int, int] = (0, 0)
    ) -> Array:
        """See `Profile.stamps`."""
        half = self.half if half is None else half
        edges = np.arange(-half, half + 2) - 0.5
        lines = []
        for along, nu in zip(fractions.T, order, strict=True):
            at = (edges - along[:, None]) / np.sqrt(self.variance)
            values = norm.cdf(at) if nu == 0 else norm.pdf(at) / np.sqrt(self.variance)
            lines.append(np.diff(values, axis=1))
        return np.asarray(lines[0][:, :, None] * lines[1][:, None, :])


def squares(centers: NDArray[np.intp], half: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the pixels around each center, (N, K, K)."""
    along = np.arange(-half, half + 1)
    rows, columns = np.broadcast_arrays(
        centers[:, 0, None, None] + along[:, None], centers[:, 1, None, None] + along
    )
    return rows, columns


def add(stamps: Array, centers: NDArray[np.intp], sides: tuple[int, ...]) -> Array:
    """Return the sum of stamps (N, K, K) at their centers, (Y, X)."""
    rows, columns = squares(centers, stamps.shape[-1] // 2)
    inside = (rows >= 0) & (rows < sides[0]) & (columns >= 0) & (columns < sides[1])
    image = np.zeros(sides)
    np.add.at(image, (rows[inside], columns[inside]), stamps[inside])
    return image


def render(
    profile: Profile,
    positions: Array,
    weights: Array,
    sides: tuple[int, ...],
    *,
    power: int = 1,
    order: tuple[int, int] = (0, 0),
) -> Array:
    """Return the sum of weighted profiles, or of their derivatives, to a power, as (Y, X)."""
    centers = np.rint(positions).astype(np.intp)
    stamps = profile.stamps(positions - centers, order=order)
    return add(weights[:, None, None] * stamps**power, centers, sides)


@dataclass(frozen=True, eq=False)
class PointSources:
    """Point sources of an image.

    Attributes
    ----------
    positions, position_std : (N, 2) arrays
        Rows and columns, and the standard deviations of their errors. [pixel]
    fluxes, flux_std : (C, N) arrays
        Of each channel, and the standard deviations of their errors. [data units]
    """

    positions: Array
    position_std: Array
    fluxes: Array
    flux_std: Array

    def __len__(self) -> int:
        return len(self.positions)

    def image(self, profile: Profile, sides: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Array:
        """Return their image (C, Y, X) of `sides`, in which the data begin at `origin`."""
        positions = self.positions + origin
        return np.stack([render(profile, positions, fluxes, sides) for fluxes in self.fluxes])

    def variance(
        self, profile: Profile, sides: tuple[int, int], origin: tuple[int, int] = (0, 0)
    ) -> Array:
        """Return the variance of the error of that image, from those of fluxes and positions."""
        positions = self.positions + origin
        planes = []
        for flux, std in zip(self.fluxes, self.flux_std, strict=True):
            plane = render(profile, positions, std**2, sides, power=2)
            for order, shift in zip(((1, 0), (0, 1)), self.position_std.T, strict=True):
                plane += render(profile, positions, (flux * shift) ** 2, sides, power=2, order=order)
            planes.append(plane)
        return np.stack(planes)
