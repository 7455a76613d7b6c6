"""Estimation of the noise of an image from the image itself."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray
from napari_dip.core.noise_properties import NoiseKind
from napari_dip.physics.correlated_noise import gaussian_transfer
from napari_dip.physics.noise._quiet_blocks import BLOCK_PX, all_blocks, quiet_blocks, white_std

FLOOR = 1e-3  # of the spread of an image: it has no less noise
MIN_DETAILS = 50  # wavelet coefficients from which noise can be estimated
FLAT_DETAIL = 1e-9  # of the spread: smaller wavelet coefficients are 0
MIN_ZERO_SHARE = 0.3  # of photon counts whose Gaussian noise cannot be estimated
MAX_POISSON_RATIO = 1.5  # of the variance between pixels over the mean of counts, or its inverse
MIN_NEIGHBOR_CORRELATION = 0.12  # between neighbors, from which noise is correlated
MAX_PATTERN_CORRELATION = 0.35  # at any distance, of either sign: more is a pattern (a mosaic of colors)
MAX_BLOCK_SCATTER = 0.2  # of the logarithm of the strength of blocks; structure scatters more
MAX_PROFILE_MISMATCH = 0.22  # of the autocorrelation, from that of smoothed noise
MAX_LAG_PX = 6
CORRELATION_SIGMAS_PX = np.arange(0.2, 1.6, 0.1)
HEAVY_TAIL_KURTOSIS = 4.5

# The decomposition high-pass filters of Daubechies' wavelets with one and two vanishing moments.
_HAAR = np.array([1, -1]) / np.sqrt(2)
_DB2 = np.array([1 - np.sqrt(3), np.sqrt(3) - 3, 3 + np.sqrt(3), -1 - np.sqrt(3)]) / np.sqrt(32)


def estimate_sigma(image: NDArray[np.floating]) -> float:
    """Return the standard deviation of the noise of a (Y, X) image, with NaN where nothing is observed.

    It is the smaller of two: the median absolute deviation of the finest diagonal wavelet coefficients,
    wherever no pixel is missing and the image is not constant (padding, clipped skies), and the residual
    of the quietest blocks of the image. Both contain little but noise, the first some fine texture. It
    is at least a thousandth of the standard deviation of the image, which is that of an image without
    noise, and 0 for a constant image. Where hardly two neighbors are known, it is the standard deviation
    of the image.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994)
           425, section 2.5, doi:10.1093/biomet/81.3.425
    """
    from astropy.stats import mad_std  # takes a second to import

    image = image.astype(float)
    known = image[np.isfinite(image)]
    spread = float(known.std()) if known.size else 0.0
    for high_pass, enough in ((_DB2, 10 * MIN_DETAILS), (_HAAR, MIN_DETAILS)):
        detail = diagonal_details(image, high_pass)
        varies = np.isfinite(detail) & (np.abs(detail) > FLAT_DETAIL * spread)
        if np.count_nonzero(np.isfinite(detail)) >= enough and not _has_noise(detail, varies):
            return _floor(image)
        whole = detail[varies]
        if whole.size >= enough:
            sigma = float(mad_std(whole))
            quiet = quiet_blocks(image)
            kind = "structured" if quiet is None else classify_noise(quiet)
            if quiet is not None and kind == "white":
                sigma = min(sigma, white_std(quiet))
            elif quiet is not None and kind == "correlated":
                sigma = float(quiet.std()) / _smoothed_noise_like(_autocorrelation(quiet))[1]
            return max(sigma, _floor(image))
    return spread


def has_measurable_noise(image: NDArray[np.floating], sigma: float) -> bool:
    """Whether `sigma`, by `estimate_sigma` for a (Y, X) image, is a measurement, and neither its lower
    bound nor the spread of single pixels; true for an image that is constant or not observed.
    """
    details = np.count_nonzero(np.isfinite(diagonal_details(image, _HAAR)))
    is_measured = bool(details >= MIN_DETAILS and sigma > 1.01 * _floor(image))
    return is_measured or sigma == 0 or not np.isfinite(image).any()


def is_sparse_count(y: FloatArray) -> bool:
    """Whether y (T, C, Y, X) are photon counts that are mostly 0: whole numbers whose variance from
    pixel to pixel is their mean, at any distance, in most of the blocks that have any.
    """
    known = y[np.isfinite(y)]
    if known.min() < 0 or np.mean(known == 0) < MIN_ZERO_SHARE or np.any(known != np.rint(known)):
        return False
    blocks = np.concatenate([all_blocks(plane) for plane in y.reshape(-1, *y.shape[-2:])])
    blocks = blocks[blocks.any(axis=(1, 2))]
    if not len(blocks):
        return False
    for lag, x in product((1, 2), (blocks, blocks.swapaxes(1, 2))):
        variance = np.mean((x[:, :, lag:] - x[:, :, :-lag]) ** 2, axis=(1, 2)) / 2
        ratio = np.median(variance / blocks.mean(axis=(1, 2)))
        if not 1 / MAX_POISSON_RATIO < ratio < MAX_POISSON_RATIO:
            return False
    return True


def _floor(image: NDArray[np.floating]) -> float:
    """The lower bound of the noise of an image; bright stars do not raise it."""
    from astropy.stats import mad_std  # takes a second to import

    known = image[np.isfinite(image)].astype(float)
    if not known.size:
        return 0.0
    spread = float(known.std())
    return FLOOR * min(spread, float(mad_std(known)) or spread)


def _has_noise(detail: NDArray[np.float64], varies: NDArray[np.bool_]) -> bool:
    """Whether wavelet coefficients that vary fill an area, or only the lines where objects end.

    Charts, labels and ramps are flat nearly everywhere; padded and clipped images have noise elsewhere.
    """
    from scipy.ndimage import binary_erosion

    number = np.count_nonzero(varies)
    if 2 * number > np.count_nonzero(np.isfinite(detail)):
        return True
    inside = binary_erosion(varies | ~np.isfinite(detail), np.ones((9, 9), bool)) & varies
    return bool(np.count_nonzero(inside) >= max(0.1 * number, 1))


def diagonal_details(
    image: NDArray[np.floating], high_pass: NDArray[np.float64] = _DB2
) -> NDArray[np.float64]:
    """Return the finest diagonal wavelet coefficients of a (Y, X) image, where no filter reaches an
    edge; NaN near missing pixels.
    """
    from scipy.ndimage import convolve1d  # takes a second to import

    after = len(high_pass) // 2
    inside = slice(len(high_pass) - 1 - after, -after)
    rows = convolve1d(image.astype(float), high_pass, axis=0)
    detail: NDArray[np.float64] = convolve1d(rows, high_pass, axis=1)[inside, inside]
    return detail


def classify_noise(blocks: NDArray[np.float64]) -> NoiseKind:
    """Return how the noise in `quiet_blocks` differs from independent Gaussian noise.

    It is correlated if neighbors along an axis share more than an eighth of their variance, as smoothed
    noise does (resampled, drizzled, debayered images). It is structured if in addition some blocks are
    much stronger than others, or the autocorrelation at larger distances is not that of smoothed noise:
    compressed images, patterns, details that cannot be distinguished from noise. It is heavy-tailed if
    the kurtosis exceeds 4.5 (that of a Gaussian is 3).
    """
    variance = np.mean(blocks**2, axis=(1, 2))
    correlation = _autocorrelation(blocks)
    if correlation[0].mean() > MIN_NEIGHBOR_CORRELATION:
        width, _, expected = _smoothed_noise_like(correlation)
        is_similar = np.abs(correlation - expected[:, None]).max() < MAX_PROFILE_MISMATCH
        is_noise = width < CORRELATION_SIGMAS_PX[-1] and is_similar and _are_homogeneous(blocks)
        return "correlated" if is_noise else "structured"
    if np.abs(correlation).max() > MAX_PATTERN_CORRELATION:
        return "structured"
    kurtosis = np.mean(blocks**4, axis=(1, 2)) / variance**2
    return "heavy-tailed" if np.median(kurtosis) > HEAVY_TAIL_KURTOSIS else "white"


def estimate_correlation_sigma(y: FloatArray) -> float:
    """Return the standard deviation of the Gaussian that smoothed the noise of y (T, C, Y, X).
    [pixel]
    """
    return _smoothed_noise_like(_autocorrelation(_blocks_of(y)))[0]


def noise_scale(y: FloatArray) -> float | None:
    """Return the median standard deviation of the noise of the planes of y (T, C, Y, X).

    It is None if the noise is neither white nor correlated. If some quiet blocks are much stronger than
    others, they contain more than noise and give an upper bound, which is used if it is below 1.
    """
    sigmas = []
    for plane in y.reshape(-1, *y.shape[-2:]):
        quiet = quiet_blocks(plane)
        if quiet is None:  # a small image: half of its blocks show whether the noise is white
            quiet = quiet_blocks(plane, min_blocks=4, share=0.5)
            if quiet is None or classify_noise(quiet) != "white":
                continue
        elif classify_noise(quiet) not in ("white", "correlated"):
            continue
        sigma = estimate_sigma(plane)
        if sigma < 1 or _are_homogeneous(quiet):
            sigmas.append(sigma)
    return float(np.median(sigmas)) if sigmas else None


def _are_homogeneous(blocks: NDArray[np.float64]) -> bool:
    """Whether all blocks are of similar strength, as those of noise are."""
    return bool(np.log(np.mean(blocks**2, axis=(1, 2))).std() / 2 < MAX_BLOCK_SCATTER)


def _autocorrelation(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median autocorrelation of blocks at distances of 1 to MAX_LAG_PX pixels; (MAX_LAG_PX, 2)."""
    variance = np.mean(blocks**2, axis=(1, 2))
    return np.array(
        [
            [
                np.median(np.mean(x[:, :, away:] * x[:, :, :-away], axis=(1, 2)) / variance)
                for x in (blocks, blocks.swapaxes(1, 2))
            ]
            for away in range(1, MAX_LAG_PX + 1)
        ]
    )


def _smoothed_noise_like(correlation: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """The smoothed noise whose quiet blocks have the same correlation between neighbors.

    Returns its width, the relative strength of its quiet blocks, and their autocorrelation. Selecting
    the quietest blocks and subtracting surfaces removes a part of smooth noise; how much is measured by
    doing the same to simulated noise.
    """
    profiles, strengths = _of_smoothed_noise()
    nearest = correlation[0].mean()
    width, strong, *profile = (
        float(np.interp(nearest, profiles[:, 0], known))
        for known in (CORRELATION_SIGMAS_PX, strengths, *profiles.T)
    )
    return width, strong, np.array(profile)


@cache
def _of_smoothed_noise() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The autocorrelation of quiet blocks of noise of all widths, (widths, lags), and their strength."""
    waves = np.fft.fft2(np.random.default_rng(0).normal(size=(512, 512)))
    profiles, strengths = [], []
    for width in CORRELATION_SIGMAS_PX:
        line = gaussian_transfer(len(waves), width)
        noise = np.fft.ifft2(np.outer(line, line) * waves).real
        quiet = quiet_blocks(noise / noise.std())
        assert quiet is not None
        profiles.append(_autocorrelation(quiet).mean(axis=1))
        strengths.append(quiet.std())
    return np.array(profiles), np.array(strengths)


def estimate_plane_sigmas(y: FloatArray) -> NDArray[np.float64]:
    """Return the noise of each plane of y (T, C, Y, X) as (T, C, 1, 1).

    A constant plane (an opaque alpha channel) has that of the others.
    """
    found = np.array([[estimate_sigma(plane) for plane in frame] for frame in y])
    found[found == 0] = np.median(found[found > 0])
    return found[..., None, None]


def plane_medians(y: FloatArray) -> NDArray[np.float64]:
    """Return the median of the observed pixels of each plane, (T, C, 1, 1); 0 if there are none."""
    levels = [[np.nanmedian(p) if np.isfinite(p).any() else 0.0 for p in frame] for frame in y]
    return np.array(levels)[..., None, None]


def classify_plane_noise(y: FloatArray) -> NoiseKind:
    """Return the kind of the noise of all planes of y (T, C, Y, X); white if there are too few
    blocks.
    """
    blocks = _blocks_of(y)
    return classify_noise(blocks) if len(blocks) else "white"


def _blocks_of(y: FloatArray) -> NDArray[np.float64]:
    """The `quiet_blocks` of all planes, normalized plane by plane."""
    planes = [quiet_blocks(plane) for plane in y.reshape(-1, *y.shape[-2:])]
    normalized = [plane / plane.std() for plane in planes if plane is not None]
    return np.concatenate(normalized) if normalized else np.zeros((0, BLOCK_PX, BLOCK_PX))
