"""A simulated fluorescent cell with a scratch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage import data


def scratched_cell(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
    """Return the cell of scikit-image under photon noise, with a scratch.

    Returns
    -------
    noisy : (Y, X) float32
        In photons; 255 in the scratch.
    mask : (Y, X) bool
        True in the scratch.
    truth : (Y, X) uint8
        The image without noise and scratch, in photons.
    """
    rng = np.random.default_rng(seed)
    truth = data.cell()[120:440, 120:440]
    photons = rng.poisson(truth).astype(np.float32)
    rows = np.arange(truth.shape[0])
    columns = (90 + 0.45 * rows + 12 * np.sin(rows / 30)).astype(int)
    scratch = np.zeros(truth.shape, bool)
    for offset in range(-2, 3):
        scratch[rows, columns + offset] = True
    photons[scratch] = 255
    return photons, scratch, truth
