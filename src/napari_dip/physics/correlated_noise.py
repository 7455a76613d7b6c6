"""Noise that neighbours share: white noise smoothed by a Gaussian, as wide as a resampling makes it."""

import numpy as np
from numpy.typing import NDArray


def gaussian_transfer(size: int, width: float) -> NDArray[np.float64]:
    """What a Gaussian of standard deviation `width` [pixel] leaves of each wave along one axis, (size,).

    In the order of `numpy.fft.fftfreq`; along two axes it is the product.
    """
    return np.asarray(np.exp(-2 * (np.pi * width * np.fft.fftfreq(size)) ** 2))


def autocorrelation(size: int, width: float) -> NDArray[np.float64]:
    """What such noise has in common at distances of 0, 1, ... pixels along one axis, (size,)."""
    power = gaussian_transfer(max(64, 4 * size), width) ** 2
    shared = np.fft.ifft(power).real[:size]
    return np.asarray(shared / shared[0])
