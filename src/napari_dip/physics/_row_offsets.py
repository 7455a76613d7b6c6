"""Offsets of the rows of one plane, estimated from the plane alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_LOG_LIKELIHOOD_RATIO = 8.0  # of offsets to none; photographs with noise have at most 5
STEP_WINDOW_PX = (5, 15)  # in which the scene is compared between rows: down and along them
MAX_STEP_SIGMAS = 2.6  # of a difference between two pixels; more are an edge
ITERATIONS = 3  # of the weights of a difference, and of the offsets
TAIL_EXPONENT = 5  # degrees of freedom: of a few bad rows, each differs by far more than the others
BLOCK_ROWS = 512


class RowOffsets(NamedTuple):
    """What a plane says about the offsets of its rows.

    Attributes
    ----------
    offsets : (Y,) float64
        Of the rows; their mean over the observed pixels is 0. [data units]
    std : float
        Their standard deviation; 0 if there are none. [data units]
    log_likelihood_ratio : float
        Of offsets to none.
    """

    offsets: NDArray[np.float64]
    std: float
    log_likelihood_ratio: float

    @property
    def is_sure(self) -> bool:
        """Whether the rows certainly have offsets."""
        return self.log_likelihood_ratio > MIN_LOG_LIKELIHOOD_RATIO


def measure_row_offsets(plane: NDArray[np.floating], std: float | None = None) -> RowOffsets:
    """Estimate the offsets of the rows of a plane (Y, X), NaN where nothing is observed.

    They have the standard deviation `std`, if it is given, in data units.

    The difference between two rows is that of their offsets, plus that of the scene, plus noise. Where
    the scene is smooth, its difference is small: such places have more weight. Offsets are independent
    from row to row, so two successive differences are anticorrelated, which distinguishes them from the
    scene. Both variances are those of maximum likelihood.

    A slow change from row to row cannot be distinguished from the scene, and stays in it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> offsets = rng.normal(0, 3, (64, 1))
    >>> found = measure_row_offsets(100 + offsets + rng.normal(0, 1, (64, 80)))
    >>> found.is_sure, bool(abs(found.std / offsets.std() - 1) < 0.2)
    (True, True)
    """
    steps, error = _row_steps(plane)
    known = np.isfinite(steps)
    none = RowOffsets(np.zeros(len(plane)), 0.0, 0.0)
    if known.sum() < 8 or not (unit := float(np.std(steps[known]))):
        return none
    model = _RowModel(np.where(known, steps, 0.0) / unit, known, error / unit)
    known_variance = None if std is None else (std / unit) ** 2
    variance, scene, ratio = model.maximize_likelihood(known_variance)
    variances = np.full(len(plane), variance)
    for _ in range(ITERATIONS):
        offsets = model.posterior_mean(variances, scene)
        variances = (TAIL_EXPONENT * variance + offsets**2) / (TAIL_EXPONENT + 1)
    weights = np.isfinite(plane).sum(axis=1)
    offsets -= np.average(offsets, weights=weights)
    return RowOffsets(unit * offsets, unit * float(np.sqrt(variance)), ratio)


def _row_steps(plane: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """The weighted mean difference between each row and the next, (Y - 1,), and the error of a row.

    NaN where two rows have no pixel in common.
    """
    steps, square_errors = [], []
    reach = STEP_WINDOW_PX[0]
    differences = np.diff(plane[:: max(len(plane) // BLOCK_ROWS, 1)], axis=0)
    centered = differences - _nanmedian(differences)
    noise = 1.4826 * float(np.nanmedian(np.abs(centered))) if np.isfinite(centered).any() else 0.0
    for first in range(0, len(plane) - 1, BLOCK_ROWS):
        start, last = max(first - reach, 0), min(first + BLOCK_ROWS, len(plane) - 1)
        step, error = _weighted_steps(np.diff(plane[start : last + reach + 1], axis=0), noise)
        inside = slice(first - start, last - start)
        steps.append(step[inside])
        square_errors.append(error[inside] ** 2)
    known = np.concatenate(square_errors)
    known = known[np.isfinite(known)]
    # The difference has the noise of two rows.
    return np.concatenate(steps), float(np.sqrt(np.median(known) / 2)) if known.size else 0.0


def _weighted_steps(
    differences: NDArray[np.floating], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of each row of `differences`, and its error; places whose rows differ have less weight.

    The differences between pixels have so much `noise`.
    """
    from scipy.ndimage import uniform_filter

    mean = _nanmedian(differences)
    number = STEP_WINDOW_PX[0] * STEP_WINDOW_PX[1]
    for _ in range(ITERATIONS):
        centered = differences - mean
        known = np.isfinite(centered)
        clipped = np.where(known, np.clip(centered, -3 * noise, 3 * noise), 0)
        slope = uniform_filter(clipped, STEP_WINDOW_PX, mode="nearest")
        structure = 2 * np.maximum(number * slope**2 - noise**2 / 2, 0)
        inside = known & (np.abs(centered) <= MAX_STEP_SIGMAS * noise)
        weights = np.where(inside, 1 / (1 + structure / max(noise**2, 1e-30)), 0.0)
        total = weights.sum(axis=1, keepdims=True)
        total[total == 0] = np.nan
        mean = np.where(known, weights * differences, 0).sum(axis=1, keepdims=True) / total
    square = (weights * np.where(known, differences - mean, 0)) ** 2
    return mean[:, 0], np.sqrt(square.sum(axis=1)) / total[:, 0]


def _nanmedian(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """The median of each row, (Y, 1); 0 of a row without values."""
    known = np.isfinite(rows).any(axis=1)
    medians = np.zeros((len(rows), 1))
    medians[known, 0] = np.nanmedian(rows[known], axis=1)
    return medians


class _RowModel:
    """The differences between rows as those of independent offsets, of noise, and of a random walk.

    Parameters
    ----------
    steps : (Y - 1,) float64
        The differences.
    known : (Y - 1,) bool
        Which of them were measured.
    error : float
        Standard error of the mean of a row.
    """

    def __init__(self, steps: NDArray[np.float64], known: NDArray[np.bool_], error: float) -> None:
        self._steps, self._error = steps, error**2 + 1e-9
        self._unknown = np.where(known, 0.0, 1e9)

    def maximize_likelihood(self, variance: float | None = None) -> tuple[float, float, float]:
        """Return the variances of the offsets and of the steps of the scene, and the logarithm of the
        likelihood ratio to no offsets. The `variance` of the offsets may be known.
        """
        small = max(0.1 * self._error, 1e-6)
        _, without = self._minimize_cost((1.0,), (small,), variance=0.0)
        if variance is None:
            (variance, scene), cost = self._minimize_cost((0.5, small), (small, 1.0))
        else:
            (scene,), cost = self._minimize_cost((1.0,), (small,), variance=variance)
        return variance, scene, without - cost

    def _minimize_cost(
        self, *starts: tuple[float, ...], variance: float | None = None
    ) -> tuple[list[float], float]:
        """The variances for which the cost is lowest, and the cost; the first may be known."""
        from scipy.optimize import minimize

        def cost(logarithms: NDArray[np.float64]) -> float:
            free = np.exp(np.clip(logarithms, -30, 30)).tolist()
            return self._cost(*([] if variance is None else [variance]), *free)

        options = {"xatol": 0.02, "fatol": 0.02}  # of logarithms
        fits = [minimize(cost, np.log(start), method="Nelder-Mead", options=options) for start in starts]
        best = min(fits, key=lambda fit: float(fit.fun))
        return np.exp(np.clip(best.x, -30, 30)).tolist(), float(best.fun)

    def _cost(self, variance: float, scene: float) -> float:
        factor = self._factor(np.full(len(self._steps) + 1, variance), scene)
        return float(np.log(factor[1]).sum() + 0.5 * self._steps @ self._solve(factor))

    def _factor(self, variances: NDArray[np.float64], scene: float) -> NDArray[np.float64]:
        """The Cholesky factor of the covariance of the differences, which has two diagonals."""
        from scipy.linalg import cholesky_banded

        rows = variances + self._error
        bands = np.zeros((2, len(self._steps)))
        bands[1] = rows[1:] + rows[:-1] + scene + self._unknown
        bands[0, 1:] = -rows[1:-1]
        factor: NDArray[np.float64] = cholesky_banded(bands)
        return factor

    def _solve(self, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.linalg import cho_solve_banded

        solution: NDArray[np.float64] = cho_solve_banded((factor, False), self._steps)
        return solution

    def posterior_mean(self, variances: NDArray[np.float64], scene: float) -> NDArray[np.float64]:
        """Return the offsets, whose prior `variances` are (Y,)."""
        solution = self._solve(self._factor(variances, scene))
        return variances * -np.diff(solution, prepend=0.0, append=0.0)
