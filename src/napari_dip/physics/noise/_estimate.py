"""The noise of an image, measured in the image."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray
from napari_dip.core.noise_properties import NoiseKind
from napari_dip.physics.correlated_noise import gaussian_transfer

BLOCK_PX = 12  # pixels of a block
MIN_BLOCKS = 8  # blocks that say something of the noise
MIN_NEIGHBOR_CORRELATION = 0.12  # part of the variance that neighbours share
MAX_BLOCK_SCATTER = (
    0.2  # of blocks' logarithmic strengths: noise is as strong everywhere, structure is not
)
MAX_PROFILE_MISMATCH = 0.22  # part of the variance by which patterns differ from smoothed noise
MAX_LAG_PX = 6  # pixels
CORRELATION_SIGMAS_PX = np.arange(0.2, 1.6, 0.1)  # pixels
HEAVY_TAIL_KURTOSIS = 4.5  # kurtosis

# The decomposition high-pass filters of Daubechies' wavelets with one and two vanishing moments.
_HAAR = np.array([1, -1]) / np.sqrt(2)
_DB2 = np.array([1 - np.sqrt(3), np.sqrt(3) - 3, 3 + np.sqrt(3), -1 - np.sqrt(3)]) / np.sqrt(32)


def estimate_sigma(image: NDArray[np.floating]) -> float:
    """Standard deviation of the noise in a (Y, X) image with NaN where nothing is known.

    The lesser of two: the median absolute deviation of the finest diagonal wavelet coefficients, at
    all places where no pixel is missing and the image is not flat (padding, clipped skies), and what
    is left in the quietest blocks of the image; both hold little but noise, the first too much of
    fine texture. Never less than a thousandth of the image's own standard deviation; 0 for an image
    without any contrast.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994)
           425, section 2.5, doi:10.1093/biomet/81.3.425
    """
    from astropy.stats import mad_std  # these two take a second to import
    from scipy.ndimage import convolve1d

    image = image.astype(float)
    known = image[np.isfinite(image)]
    spread = float(known.std()) if known.size else 0.0
    for high_pass in (_DB2, _HAAR):
        after = len(high_pass) // 2
        inside = slice(len(high_pass) - 1 - after, -after)  # where the filter meets no edge
        detail = convolve1d(convolve1d(image, high_pass, axis=0), high_pass, axis=1)[inside, inside]
        whole = detail[np.isfinite(detail) & (np.abs(detail) > 1e-9 * spread)]
        if whole.size >= 500:
            sigma = float(mad_std(whole))
            quiet = quiet_blocks(image)
            kind = "structured" if quiet is None else classify_noise(quiet)
            if quiet is not None and kind == "white":
                sigma = min(sigma, float(np.median(quiet.std(axis=(1, 2)))))
            elif quiet is not None and kind == "correlated":
                sigma = float(quiet.std()) / _smoothed_noise_like(_autocovariance(quiet))[1]
            return max(sigma, 1e-3 * spread)
    return spread  # hardly two neighbours are known: nothing better can be said


def quiet_blocks(image: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """What is left of the quietest fifth of all blocks without a second-degree surface, (N, SIDE, SIDE).

    As strong as the noise on average; None where fewer than `FEWEST` blocks are complete.
    """
    height, width = (side // BLOCK_PX for side in image.shape)
    tiles = (
        image[: height * BLOCK_PX, : width * BLOCK_PX]
        .reshape(height, BLOCK_PX, width, BLOCK_PX)
        .swapaxes(1, 2)
    )
    blocks = tiles.reshape(-1, BLOCK_PX * BLOCK_PX).astype(float)
    blocks = blocks[np.isfinite(blocks).all(axis=1)]
    blocks = blocks[np.ptp(blocks, axis=1) > 0]
    number = len(blocks) // 5
    if number < MIN_BLOCKS:
        return None
    y, x = np.mgrid[:BLOCK_PX, :BLOCK_PX].reshape(2, -1) / BLOCK_PX - 0.5
    surface, _ = np.linalg.qr(np.stack((np.ones_like(x), x, y, x * y, x**2, y**2), axis=1))
    left = blocks - blocks.mean(axis=1, keepdims=True)
    left -= left @ surface @ surface.T
    left = left.reshape(-1, BLOCK_PX, BLOCK_PX)
    # Ranked by what means over 3 x 3 pixels show, which is structure rather than noise.
    coarse = left.reshape(-1, BLOCK_PX // 3, 3, BLOCK_PX // 3, 3).mean(axis=(2, 4)).var(axis=(1, 2))
    quietest = left[np.argsort(coarse)[:number]]
    found: NDArray[np.float64] = quietest * np.sqrt(BLOCK_PX**2 / (BLOCK_PX**2 - surface.shape[1]))
    return found


def classify_noise(blocks: NDArray[np.float64]) -> NoiseKind:
    """How the noise in `quiet_blocks` (N, SIDE, SIDE) differs from independent Gaussian noise.

    Correlated where neighbours along an axis have more than an eighth of their variance in common,
    as smoothed noise has (resampled, drizzled, debayered images). Structured where they have that and
    some blocks are much stronger than others, or what pixels share at greater distances is no
    smoothed noise's: compressed images, patterns, details that cannot be told from noise. With long
    tails where the kurtosis exceeds 4.5 (three is a Gaussian's).
    """
    variance = np.mean(blocks**2, axis=(1, 2))
    shared = _autocovariance(blocks)
    if shared[0].mean() > MIN_NEIGHBOR_CORRELATION:
        width, _, expected = _smoothed_noise_like(shared)
        alike = np.abs(shared - expected[:, None]).max() < MAX_PROFILE_MISMATCH
        is_noise = width < CORRELATION_SIGMAS_PX[-1] and alike and _are_homogeneous(blocks)
        return "correlated" if is_noise else "structured"
    kurtosis = np.mean(blocks**4, axis=(1, 2)) / variance**2
    return "heavy-tailed" if np.median(kurtosis) > HEAVY_TAIL_KURTOSIS else "white"


def estimate_correlation_sigma(y: FloatArray) -> float:
    """How wide the noise in y (T, C, Y, X) is: white noise smoothed by such a Gaussian. [pixel]"""
    return _smoothed_noise_like(_autocovariance(_blocks_of(y)))[0]


def noise_scale(y: FloatArray) -> float | None:
    """How strong the noise of y (T, C, Y, X) is, in most planes; None where that cannot be told.

    It can where the noise is white or correlated. Where some quiet blocks are much stronger than others
    they hold more than noise, and tell how strong it is at most: that counts where it is less than 1.
    """
    found = []
    for plane in y.reshape(-1, *y.shape[-2:]):
        quiet = quiet_blocks(plane)
        if quiet is None or classify_noise(quiet) not in ("white", "correlated"):
            continue
        sigma = estimate_sigma(plane)
        if sigma < 1 or _are_homogeneous(quiet):
            found.append(sigma)
    return float(np.median(found)) if found else None


def _are_homogeneous(blocks: NDArray[np.float64]) -> bool:
    """Whether blocks (N, SIDE, SIDE) are as strong as each other, as those of noise are."""
    return bool(np.log(np.mean(blocks**2, axis=(1, 2))).std() / 2 < MAX_BLOCK_SCATTER)


def _autocovariance(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of the variance that pixels 1 to LAGS apart have in common in most blocks; (LAGS, 2)."""
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


def _smoothed_noise_like(shared: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """The smoothed noise whose quiet blocks have as much in common between neighbours.

    Its width, how strong its quiet blocks are beside it, and what they have in common at all distances.
    Choosing the quietest blocks and taking surfaces out of them takes a part of smooth noise; how large
    a part is found by doing the same to noise that is known.
    """
    profiles, strengths = _of_smoothed_noise()
    nearest = shared[0].mean()
    width, strong, *profile = (
        float(np.interp(nearest, profiles[:, 0], known))
        for known in (CORRELATION_SIGMAS_PX, strengths, *profiles.T)
    )
    return width, strong, np.array(profile)


@cache
def _of_smoothed_noise() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the quiet blocks of noise of all WIDTHS share, (WIDTHS, LAGS), and how strong they are."""
    waves = np.fft.fft2(np.random.default_rng(0).normal(size=(512, 512)))
    profiles, strengths = [], []
    for width in CORRELATION_SIGMAS_PX:
        line = gaussian_transfer(len(waves), width)
        noise = np.fft.ifft2(np.outer(line, line) * waves).real
        quiet = quiet_blocks(noise / noise.std())
        assert quiet is not None
        profiles.append(_autocovariance(quiet).mean(axis=1))
        strengths.append(quiet.std())
    return np.array(profiles), np.array(strengths)


def estimate_plane_sigmas(y: FloatArray) -> NDArray[np.float64]:
    """The noise of each plane of y (T, C, Y, X) as (T, C, 1, 1).

    A plane without contrast (an opaque alpha) has that of the others.
    """
    found = np.array([[estimate_sigma(plane) for plane in frame] for frame in y])
    found[found == 0] = np.median(found[found > 0])
    return found[..., None, None]


def plane_medians(y: FloatArray) -> NDArray[np.float64]:
    """The median of each plane's observed pixels, (T, C, 1, 1); 0 where there are none."""
    levels = [[np.nanmedian(p) if np.isfinite(p).any() else 0.0 for p in frame] for frame in y]
    return np.array(levels)[..., None, None]


def classify_plane_noise(y: FloatArray) -> NoiseKind:
    """The `character` of all planes of y (T, C, Y, X); white where there is too little to tell."""
    blocks = _blocks_of(y)
    return classify_noise(blocks) if len(blocks) else "white"


def _blocks_of(y: FloatArray) -> NDArray[np.float64]:
    """The `quiet_blocks` of all planes, each plane's as strong as the others'."""
    planes = [quiet_blocks(plane) for plane in y.reshape(-1, *y.shape[-2:])]
    told = [plane / plane.std() for plane in planes if plane is not None]
    return np.concatenate(told) if told else np.zeros((0, BLOCK_PX, BLOCK_PX))
