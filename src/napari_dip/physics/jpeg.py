"""JPEG compression: how an image was quantized, and which images agree with it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.torch_import import torch

BLOCK = 8
MIDDLE, LARGEST = 128, 255  # of the values
# Standard deviation of coefficients about multiples of their step, because values were rounded to whole
# numbers: of the mean of a block, which may be as flat as one number, and of the others.
ROUNDING_OF_MEAN, ROUNDING = 2.0, 0.5
OUTLIERS = 0.02  # share of coefficients that are no multiples: the decoder clipped values
ZERO = 2.0  # below which a coefficient may be 0 in the file
MIN_COEFFICIENTS = 5  # besides zeros, from which a step is estimated
MIN_BLOCKS = 16
MIN_ZERO_GAIN = 0.05  # share of coefficients that are 0 with the right grid, beyond other grids
INTERVAL_SHARE = 0.6  # of an interval that is used: its ends are unlikely
COLOR_ERROR_SHARE = 0.55  # of the error of the luminance, that color differences have
# The table for the luminance at quality 50: ISO/IEC 10918-1, table K.1.
_STANDARD_STEPS = np.array(
    [
        *([16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55]),
        *([14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62]),
        *([18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92]),
        *([49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]),
    ],
    float,
)
# Luminance and two color differences of red, green and blue: ITU-T T.871 (JFIF).
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
)
_TO_RGB = np.linalg.inv(_TO_YCBCR)


@dataclass(frozen=True, eq=False)
class JpegCoding:
    """How the luminance of an image was quantized, and how large the errors are.

    Attributes
    ----------
    first : (int, int)
        Row and column where the first complete block starts.
    steps : (8, 8) float32
        Steps of the coefficients of a block.
    coefficients : (blocks down, blocks across, 8, 8) float32
        As the file has them, times the steps.
    tolerance : float32 array of the same shape
        How far they may be from the truth.
    errors : tuple of float
        Expected r.m.s. error of a pixel of each plane: the luminance, and two color differences.
    """

    first: tuple[int, int]
    steps: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    tolerance: NDArray[np.float32]
    errors: tuple[float, ...]

    @property
    def quality(self) -> int:
        """The quality of the standard table that is nearest to the steps."""
        scale = 100 * float(np.median(self.steps / _STANDARD_STEPS))
        return max(round(5000 / scale if scale > 100 else (200 - scale) / 2), 1)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Return the image (C, Y, X) whose luminance is the nearest one that agrees with the file."""
        planes = to_planes(x - MIDDLE)
        rows, columns = (
            slice(start, start + BLOCK * number)
            for start, number in zip(self.first, self.coefficients.shape[:2], strict=True)
        )
        basis = torch.from_numpy(_cosine_basis()).to(x)
        shape = (self.coefficients.shape[0], BLOCK, self.coefficients.shape[1], BLOCK)
        blocks = planes[0, rows, columns].reshape(shape).transpose(1, 2)
        values = basis @ blocks @ basis.T
        center, tolerance = (
            torch.from_numpy(array).to(x) for array in (self.coefficients, self.tolerance)
        )
        change = basis.T @ (values.clamp(center - tolerance, center + tolerance) - values) @ basis
        planes = planes.clone()
        planes[0, rows, columns] += change.transpose(1, 2).flatten(2).flatten(0, 1)
        return from_planes(planes) + MIDDLE


def to_planes(x: torch.Tensor) -> torch.Tensor:
    """Return luminance and two color differences of an RGB image, or a gray one as it is; (C, Y, X)."""
    return x if len(x) == 1 else torch.tensordot(torch.from_numpy(_TO_YCBCR).to(x), x, dims=1)


def from_planes(planes: torch.Tensor) -> torch.Tensor:
    """Return the image (C, Y, X) of planes that `to_planes` returned."""
    if len(planes) == 1:
        return planes
    x: torch.Tensor = torch.tensordot(torch.from_numpy(_TO_RGB).to(planes), planes, dims=1)
    return x


def plane_variances(errors: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the variance of each channel, for planes with these r.m.s. errors."""
    matrix = _TO_RGB if len(errors) == 3 else np.eye(1)
    return np.asarray(matrix**2 @ np.square(errors))


def find_coding(y: FloatArray) -> JpegCoding:
    """Return how a decoded image was quantized, from the histograms of its coefficients.

    Parameters
    ----------
    y : (C, Y, X) float array
        Values from 0 to 255, gray or RGB; it may be a part of the decoded image.

    Raises
    ------
    ObservationError
        If it does not look like a JPEG image as it was decoded.

    Notes
    -----
    The grid of blocks is the one on which most coefficients vanish. The step of each coefficient is the
    most likely one, if its values are multiples but for rounding errors; where nearly all are 0, it is
    that of the standard table, scaled like the others.

    References
    ----------
    .. [1] Fan, de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer
           estimation", IEEE Trans. Image Process. 12 (2003) 230.
    """
    if len(y) not in (1, 3):
        raise ObservationError(f"the image has {len(y)} channels: a JPEG image has one or three")
    if not np.isfinite(y).all():
        raise ObservationError("pixels are missing: a JPEG image has all of them; remove the mask")
    if y.min() < 0 or y.max() > LARGEST or np.any(y != np.round(y)):
        raise ObservationError(
            "the values are not those of a JPEG image as it was decoded, whole numbers from 0 to 255:"
            " open the file itself"
        )
    luminance = to_planes(torch.from_numpy(y.astype(np.float64) - MIDDLE))[0].numpy()
    clipped = np.any((y <= 0) | (y >= LARGEST), axis=0)
    first = _find_grid(luminance, clipped)
    coefficients, is_clipped = _coefficients(luminance, clipped, first)
    steps = _estimate_steps(coefficients[~is_clipped])
    multiples = steps * np.round(coefficients / steps)
    # Where values were clipped, those of the file are unknown.
    distance = np.abs(coefficients - multiples)
    unsure = np.where(is_clipped[..., None, None] | (distance > 4 * ROUNDING), distance, 0)
    error = _expected_error(coefficients, steps)
    return JpegCoding(
        first,
        steps.astype(np.float32),
        multiples.astype(np.float32),
        (INTERVAL_SHARE * steps / 2 + unsure).astype(np.float32),
        (error, *(COLOR_ERROR_SHARE * error for _ in y[1:])),
    )


def _find_grid(plane: NDArray[np.float64], clipped: BoolArray) -> tuple[int, int]:
    """The row and the column where blocks start: there most coefficients are 0."""
    scores: dict[tuple[int, int], float] = {}
    for first in product(range(BLOCK), range(BLOCK)):
        coefficients, is_clipped = _coefficients(plane, clipped, first)
        sure = coefficients[~is_clipped]
        if len(sure) >= MIN_BLOCKS:
            scores[first] = float((np.abs(sure) < ZERO).mean())
    best = max(scores, key=lambda first: scores[first], default=None)
    if best is None or scores[best] < MIN_ZERO_GAIN + np.median([*scores.values()]):
        raise ObservationError(
            "the image shows no blocks of 8 x 8 pixels with quantized coefficients: it is no JPEG image"
            " as it was decoded, but scaled or filtered, or it was hardly compressed"
        )
    return best


def _estimate_steps(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step of each coefficient, (8, 8), from blocks (N, 8, 8)."""
    steps = np.zeros((BLOCK, BLOCK))
    candidates = np.arange(1, LARGEST + 1)[:, None]
    for place in product(range(BLOCK), range(BLOCK)):
        values = coefficients[:, *place]
        values = values[np.abs(values) > ZERO][:2000]
        if len(values) < MIN_COEFFICIENTS:
            continue
        std = ROUNDING if any(place) else ROUNDING_OF_MEAN
        distance = (values - candidates * np.round(values / candidates)) / std
        density = np.exp(-(distance**2) / 2) / (np.sqrt(2 * np.pi) * std)
        mixture = (1 - OUTLIERS) * candidates * density + OUTLIERS  # over that of any coefficients
        steps[place] = candidates[np.log(mixture).sum(axis=1).argmax(), 0]
    known = steps > 0
    scale = np.median(steps[known] / _STANDARD_STEPS[known]) if known.any() else 1.0
    return np.where(known, steps, np.clip(np.round(scale * _STANDARD_STEPS), 1, LARGEST))


def _expected_error(coefficients: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """The expected r.m.s. error, if each coefficient has a Laplacian distribution; the first a flat one.

    Its width follows from how often the coefficient is 0. Where it nearly always is, the width is that
    of a power law of the frequency through the others, at most what the zeros allow.
    """
    zeros, number = (np.abs(coefficients) < steps / 2).mean(axis=(0, 1)), coefficients[..., 0, 0].size
    widths = -steps / (2 * np.log1p(-np.clip(zeros, 0.5 / number, 1 - 0.5 / number)))
    rows, columns = np.indices((BLOCK, BLOCK))
    frequency = np.log(np.hypot(rows, columns).clip(min=0.5))
    enough = (number * (1 - zeros) >= MIN_COEFFICIENTS) & (rows + columns > 0)
    if np.count_nonzero(enough) >= 3:
        slope, level = np.polyfit(frequency[enough], np.log(widths[enough]), 1)
        widths = np.where(enough, widths, np.minimum(widths, np.exp(level + slope * frequency)))
    quantiles = (np.arange(500) + 0.5) / 500
    values = -np.log1p(-quantiles)[:, None, None] * widths
    squares = ((values - steps * np.round(values / steps)) ** 2).mean(axis=0)
    squares[0, 0] = steps[0, 0] ** 2 / 12
    return float(np.sqrt(squares.mean()))


def _coefficients(
    plane: NDArray[np.float64], clipped: BoolArray, first: tuple[int, int]
) -> tuple[NDArray[np.float64], BoolArray]:
    """The coefficients of complete blocks (rows, columns, 8, 8), and which have clipped pixels."""
    rows, columns = (
        slice(start, start + (side - start) // BLOCK * BLOCK)
        for start, side in zip(first, plane.shape, strict=True)
    )
    shape = (plane[rows].shape[0] // BLOCK, BLOCK, plane[:, columns].shape[1] // BLOCK, BLOCK)
    values, outside = (array[rows, columns].reshape(shape).swapaxes(1, 2) for array in (plane, clipped))
    basis = _cosine_basis()
    return basis @ values @ basis.T, np.asarray(outside.any(axis=(2, 3)))


def _cosine_basis() -> NDArray[np.float64]:
    """The orthonormal cosine transform of 8 values, one function in each row."""
    from scipy.fft import dct

    return np.asarray(dct(np.eye(BLOCK), axis=0, norm="ortho"))
