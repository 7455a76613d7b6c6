"""Point sources: stars and beads, each with one position and one flux, found with the PSF."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

from napari_dip.physics._point_profiles import Array, PointSources, Profile, add, render, squares

MAX_ROUNDS = 4  # of searches in what the sources found so far leave
SWEEPS = 8  # of fits to all sources, each without its neighbors but the next one
STAMP_FWHM = 1.5  # half a side of the square in which a source is fitted, over the width of the PSF
MIN_HALF_PX = 3  # half a side of a square that is large enough
MIN_PEAK_SIGMAS = 8.0  # of the filtered image, for a candidate
MIN_FLUX_SIGMAS = 10.0  # of a source: fainter ones are left to the network
CANDIDATE_FLUX_SIGMAS = 3.0  # of what is fitted beside its neighbors, and may be left out afterwards
MIN_KNOWN_SHARE = 0.4  # of the pixels of a stamp
PSF_ERROR = 0.02  # of the PSF, over its value
MAX_MISFIT = 1.5  # mean square of the residual of a source over its noise
WIDTH_SIGMAS, WIDTH_TOLERANCE = 3.0, 0.15  # by which a source may be wider or narrower than the PSF
DAMPING = 1e-4  # of steps, as Levenberg and Marquardt do, over the square of a column
MIN_DISTANCE_FWHM = 0.35  # between sources, over the width of the PSF
MIN_STEP_PX, MAX_STEP_PX = 0.01, 0.5  # of a position in one sweep


def find_point_sources(planes: Array, noise: Array, profile: Profile) -> PointSources:
    """Return the sources of an image that are as wide as its PSF, and bright enough to tell.

    A source is a flux, a position between pixels and a local background, fitted by least squares to the
    pixels around it, together with its nearest neighbor. Others that overlap are fitted in turn; fainter
    ones are found in what brighter ones leave. One that is wider along an axis may be two. Those that
    are wider or narrower than the PSF then are left out, but only once all have been judged: their light
    would count against their neighbors. Galaxies, nuclei and hot pixels are no points. A source may lie
    beyond the border, as far as enough of its light does not.

    Parameters
    ----------
    planes, noise : (C, Y, X) arrays
        The image, NaN where nothing is observed, and its noise. Its channels share the positions.
    profile : Profile
        The PSF.

    References
    ----------
    .. [1] Stetson, "DAOPHOT: a computer program for crowded-field stellar photometry", Publ. Astron.
           Soc. Pac. 99 (1987) 191, doi:10.1086/131977.
    .. [2] Magain, Courbin, Sohy, "Deconvolution with correct sampling", Astrophys. J. 494 (1998) 472,
           doi:10.1086/305187: point sources apart from the rest, at a resolution that is chosen.
    """
    is_seen = np.isfinite(planes).any(axis=(1, 2))
    weights = 1 / np.nanmedian(noise[is_seen], axis=(1, 2), keepdims=True) ** 2
    weights /= weights.sum()
    mean = _Stamps(
        (weights * planes[is_seen]).sum(axis=0),
        np.sqrt((weights**2 * noise[is_seen] ** 2).sum(axis=0)),
        profile,
    )
    positions, fluxes = np.zeros((0, 2)), np.zeros(0)
    for _ in range(MAX_ROUNDS):
        found = mean.candidates(positions, fluxes)
        fit = mean.fit(np.concatenate((positions, found)), np.pad(fluxes, (0, len(found))))
        keep = fit.is_candidate(mean)
        positions, fluxes = fit.positions[keep], fit.fluxes[keep]
    positions, fluxes = mean.fit(positions, fluxes).split(mean)
    fit = mean.fit(*mean.fit(positions, fluxes).merged(mean))
    keep = fit.is_point(mean)
    fits = [
        _Stamps(plane, std, profile).fit(fit.positions, 0 * fit.fluxes, moves=False)
        for plane, std in zip(planes, noise, strict=True)
    ]
    return PointSources(
        fit.positions[keep],
        fit.position_std[keep],
        np.stack([fit.fluxes[keep] for fit in fits]),
        np.stack([fit.flux_std[keep] for fit in fits]),
    )


class _Fit(NamedTuple):
    """Sources fitted to a plane.

    Attributes
    ----------
    misfit : (N,) array
        Mean square of the residual over the noise.
    spreads : (N, 2) array
        Variances by which they are wider than the PSF, along the axis where they are widest, and across
        it. [pixel^2]
    directions : (N, 2) array
        Unit vectors along the former.
    spread_std : (N,) array
    """

    positions: Array
    position_std: Array
    fluxes: Array
    flux_std: Array
    misfit: Array
    spreads: Array
    directions: Array
    spread_std: Array

    def is_candidate(self, stamps: _Stamps) -> NDArray[np.bool_]:
        """Which sources reach into the image, are bright enough, not wider than the PSF along both axes,
        and no hot pixels. Neighbors that are not found yet may make them wider along one axis.
        """
        last = np.array(stamps.plane.shape) - 1 + stamps.half
        is_inside = np.all((self.positions > -stamps.half) & (self.positions < last), axis=1)
        is_bright = self.fluxes > CANDIDATE_FLUX_SIGMAS * self.flux_std
        narrow = self.spreads[:, 1]
        is_one_axis = (narrow > -stamps.profile.variance / 2) & (narrow < self._allowed(stamps))
        return np.asarray(is_inside & is_bright & is_one_axis)

    def is_point(self, stamps: _Stamps) -> NDArray[np.bool_]:
        """Which candidates are as wide as the PSF, bright enough, and explain the data."""
        is_narrow = np.all(np.abs(self.spreads) < self._allowed(stamps)[:, None], axis=1)
        is_bright = self.fluxes > MIN_FLUX_SIGMAS * self.flux_std
        return np.asarray(self.is_candidate(stamps) & is_narrow & is_bright & (self.misfit < MAX_MISFIT))

    def split(self, stamps: _Stamps) -> tuple[Array, Array]:
        """Positions and fluxes, with two sources in the place of each that is wider along one axis."""
        is_long = self.spreads[:, 0] > self._allowed(stamps)
        centers, halves = self.positions[is_long], self.fluxes[is_long] / 2
        offsets = self.directions[is_long] * np.sqrt(self.spreads[is_long, :1])
        positions = self.positions[~is_long], centers + offsets, centers - offsets
        return np.concatenate(positions), np.concatenate((self.fluxes[~is_long], halves, halves))

    def merged(self, stamps: _Stamps) -> tuple[Array, Array]:
        """Positions and fluxes, with one source in the place of two nearest ones that are too close."""
        positions, fluxes = self.positions.copy(), self.fluxes.copy()
        closest, is_close = _nearest(positions, MIN_DISTANCE_FWHM * stamps.profile.fwhm)
        first = np.flatnonzero(is_close & (closest[closest] == np.arange(len(closest))))
        first = first[first < closest[first]]
        second = closest[first]
        weight = (fluxes[first] / (fluxes[first] + fluxes[second]))[:, None]
        positions[first] = weight * positions[first] + (1 - weight) * positions[second]
        fluxes[first] += fluxes[second]
        return np.delete(positions, second, axis=0), np.delete(fluxes, second)

    def _allowed(self, stamps: _Stamps) -> Array:
        return WIDTH_SIGMAS * self.spread_std + WIDTH_TOLERANCE * stamps.profile.variance


class _Stamps:
    """A plane and its noise, cut into squares around sources."""

    def __init__(self, plane: Array, noise: Array, profile: Profile) -> None:
        self.plane, self.profile = plane, profile
        self.half = min(round(STAMP_FWHM * profile.fwhm), profile.half)
        self._variance = np.pad(noise**2, 2 * self.half, mode="edge")

    @np.errstate(divide="ignore", invalid="ignore")  # of a flux of 0
    def fit(self, positions: Array, fluxes: Array, *, moves: bool = True) -> _Fit:
        """Fit all sources, from these positions and fluxes, in turn; positions only if they move."""
        half, margin = self.half, 2 * self.half
        next_one, is_near = _nearest(positions, 2 * STAMP_FWHM * self.profile.fwhm)
        orders = ((0, 0), (1, 0), (0, 1)) if moves else ((0, 0),)
        for _ in range(SWEEPS):
            centers = np.rint(positions).astype(np.intp)
            wide = [self.profile.stamps(positions - centers, order=order) for order in orders]
            left = self.plane - add(wide[0] * fluxes[:, None, None], centers, self.plane.shape)
            left = np.pad(left, margin, constant_values=np.nan)
            rows, columns = squares(centers, half)
            place = tuple(
                np.clip(index + margin, 0, n - 1)
                for index, n in zip((rows, columns), left.shape, strict=True)
            )
            values, noise = left[place], self._variance[place]
            inner = slice(self.profile.half - half, self.profile.half + half + 1)
            own = [stamps[:, inner, inner] for stamps in wide]
            other = [
                is_near[:, None, None] * _part(stamps[next_one], centers - centers[next_one], half)
                for stamps in wide
            ]
            variance = noise + (PSF_ERROR * fluxes[:, None, None] * own[0]) ** 2
            y, x = (index.astype(float) for index in squares(0 * centers, half))
            slopes = [-slope for slope in (*own[1:], *other[1:])]
            templates = [own[0], np.ones_like(values), y, x, other[0], *slopes]
            found, std, misfit = _least_squares(templates, values, variance)
            fluxes = fluxes + found[:, 0]
            if moves:
                steps = np.nan_to_num(found[:, 5:7] / fluxes[:, None]).clip(-MAX_STEP_PX, MAX_STEP_PX)
                positions = positions + steps
                if np.abs(steps).max(initial=0) < MIN_STEP_PX:
                    break
        yy, xx, yx = (
            self.profile.stamps(positions - centers, half, order) for order in ((2, 0), (0, 2), (1, 1))
        )
        wider, wider_std, _ = _least_squares([*templates, yy, xx, 2 * yx], values, variance)
        tensor = 2 * wider[:, [[-3, -1], [-1, -2]]] / fluxes[:, None, None]
        spreads, axes = np.linalg.eigh(np.nan_to_num(tensor))
        scale = np.abs(fluxes)
        return _Fit(
            positions=positions,
            position_std=std[:, 5:7] / scale[:, None] if moves else np.zeros_like(positions),
            fluxes=fluxes,
            flux_std=std[:, 0],
            misfit=misfit,
            spreads=spreads[:, ::-1],
            directions=axes[:, :, 1],
            spread_std=2 * wider_std[:, -3:-1].max(axis=1) / scale,
        )

    def candidates(self, positions: Array, fluxes: Array) -> Array:
        """The peaks (N, 2) of what sources leave, filtered with the PSF, that are not near them; none if
        the PSF has too few pixels to tell points from other things.
        """
        if self.half < MIN_HALF_PX:
            return np.zeros((0, 2))
        left = self.plane - render(self.profile, positions, fluxes, self.plane.shape)
        (kernel,) = self.profile.stamps(np.zeros((1, 2)), self.half)
        kernel = kernel - kernel.mean()
        filled = np.where(np.isfinite(left), left, np.nanmedian(left))
        padded = np.pad(filled, self.half, mode="edge")
        filtered = fftconvolve(padded, kernel[::-1, ::-1], mode="valid")
        sigma = 1.4826 * np.median(np.abs(filtered - np.median(filtered)))
        width = 2 * int(self.profile.fwhm / 2) + 1
        is_peak = (filtered == maximum_filter(filtered, width)) & (filtered > MIN_PEAK_SIGMAS * sigma)
        peaks = np.argwhere(is_peak).astype(float)
        if not len(positions):
            return peaks
        distance, _ = cKDTree(positions).query(peaks)
        return np.asarray(peaks[distance > MIN_DISTANCE_FWHM * self.profile.fwhm])


def _least_squares(columns: list[Array], values: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Coefficients (N, K) of K columns (N, Y, X) that fit the values, their standard deviations, and the
    mean square of the residual over the noise, which is infinite where too many values are missing.
    """
    known = np.isfinite(values)
    number, size = known.sum(axis=(1, 2)), known[0].size if len(known) else 1
    matrix = np.stack([np.where(known, column, 0.0) for column in columns], axis=-1)
    matrix = matrix.reshape(len(values), size, len(columns))
    flat = np.where(known, values, 0.0).reshape(len(values), size)
    spread = np.where(known, variance, 0.0).reshape(len(values), size)
    scale = np.sqrt((matrix**2).sum(axis=1)) + 1e-30
    matrix = matrix / scale[:, None]
    transposed = matrix.swapaxes(1, 2)
    solver = np.linalg.solve(transposed @ matrix + DAMPING * np.eye(len(columns)), transposed)
    found = (solver @ flat[..., None])[..., 0]
    std = np.sqrt((solver**2 @ spread[..., None])[..., 0])
    left = (flat - (matrix @ found[..., None])[..., 0]) ** 2
    free = np.maximum(number - len(columns), 1)
    misfit = np.where(spread > 0, left / np.where(spread > 0, spread, 1), 0).sum(axis=1) / free
    is_short = number < MIN_KNOWN_SHARE * size
    misfit[is_short] = np.inf
    return found / scale, std / scale, misfit


def _nearest(positions: Array, reach: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The nearest other source of each, and whether it is within `reach`."""
    if len(positions) < 2:
        return np.zeros(len(positions), np.intp), np.zeros(len(positions), np.bool_)
    distance, index = cKDTree(positions).query(positions, k=2)
    return index[:, 1], distance[:, 1] < reach


def _part(stamps: Array, offsets: NDArray[np.intp], half: int) -> Array:
    """Squares (N, K, K) of stamps, at `offsets` (N, 2) from their centers; 0 beyond."""
    reach = stamps.shape[-1] // 2
    rows, columns = squares(offsets + reach, half)
    inside = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) <= 2 * reach)
    index = np.arange(len(stamps))[:, None, None]
    values = stamps[index, rows.clip(0, 2 * reach), columns.clip(0, 2 * reach)]
    return np.asarray(np.where(inside, values, 0.0))
