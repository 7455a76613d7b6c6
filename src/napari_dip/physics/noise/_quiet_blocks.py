"""The quietest blocks of an image: what they contain is little but noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 12  # side of a block
MIN_BLOCKS = 8  # from which the noise can be estimated
MANY_BLOCKS = 300  # quiet blocks, of which most are pure noise
SURFACE_TERMS = 6  # of the quadratic surface that is subtracted from a block


def quiet_blocks(
    image: NDArray[np.floating], *, min_blocks: int = MIN_BLOCKS, share: float = 0.2
) -> NDArray[np.float64] | None:
    """Return the quietest `share` of all blocks, minus a quadratic surface, (N, BLOCK_PX, BLOCK_PX).

    They are scaled to the strength of the noise; None if these are fewer than `min_blocks`.
    """
    blocks = all_blocks(image).reshape(-1, BLOCK_PX * BLOCK_PX)
    blocks = blocks[np.ptp(blocks, axis=1) > 0]
    number = int(share * len(blocks) + 1e-9)
    if number < min_blocks:
        return None
    y, x = np.mgrid[:BLOCK_PX, :BLOCK_PX].reshape(2, -1) / BLOCK_PX - 0.5
    surface, _ = np.linalg.qr(np.stack((np.ones_like(x), x, y, x * y, x**2, y**2), axis=1))
    left = blocks - blocks.mean(axis=1, keepdims=True)
    left -= left @ surface @ surface.T
    left = left.reshape(-1, BLOCK_PX, BLOCK_PX)
    # Ranked by the variance of means over 3 x 3 pixels, which is structure rather than noise.
    quietest = left[np.argsort(_means_3x3(left).var(axis=(1, 2)))[:number]]
    scaled: NDArray[np.float64] = quietest * np.sqrt(BLOCK_PX**2 / (BLOCK_PX**2 - SURFACE_TERMS))
    return scaled


def white_std(blocks: NDArray[np.float64]) -> float:
    """Return the standard deviation of white noise in `quiet_blocks`.

    The quietest blocks of pure noise have less of it than others, by 2 per cent, in the means over 3 x 3
    pixels by which they are ranked. Where there are many, the noise is that of the rest. Few of them
    have some texture, too, which makes up for that.
    """
    if len(blocks) < MANY_BLOCKS:
        return float(np.median(blocks.std(axis=(1, 2))))
    means = _means_3x3(blocks).repeat(3, axis=1).repeat(3, axis=2)
    freedom = BLOCK_PX**2 * 8 / 9 - 0.76  # of which the surface has taken 0.76
    median_of_chi_square = (1 - 2 / (9 * freedom)) ** 3  # over its mean
    variances = np.sum((blocks - means) ** 2, axis=(1, 2)) / freedom
    # The blocks were scaled for the surface that was subtracted.
    scale = np.sqrt(1 - SURFACE_TERMS / BLOCK_PX**2)
    return float(scale * np.sqrt(np.median(variances) / median_of_chi_square))


def _means_3x3(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means over 3 x 3 pixels of blocks, (N, BLOCK_PX / 3, BLOCK_PX / 3)."""
    return np.asarray(blocks.reshape(-1, BLOCK_PX // 3, 3, BLOCK_PX // 3, 3).mean(axis=(2, 4)))


def all_blocks(image: NDArray[np.floating], side: int = BLOCK_PX) -> NDArray[np.float64]:
    """Return all blocks of a (Y, X) image in which nothing is missing, (N, side, side)."""
    height, width = (length // side for length in image.shape)
    tiles = image[: height * side, : width * side].reshape(height, side, width, side)
    blocks = tiles.swapaxes(1, 2).reshape(-1, side, side).astype(float)
    return np.asarray(blocks[np.isfinite(blocks).all(axis=(1, 2))])
