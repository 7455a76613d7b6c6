"""Correlated noise: white noise smoothed by a Gaussian, as resampling does."""

import numpy as np
from numpy.typing import NDArray


def gaussian_transfer(size: int, sigma: float) -> NDArray[np.float64]:
    """Return the transfer function of a Gaussian of standard deviation `sigma` [pixel] along an axis.

    It has the order of `numpy.fft.fftfreq`, (size,); along two axes it is the outer product.
    """
    return np.asarray(np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(size)) ** 2))


def autocorrelation(size: int, sigma: float) -> NDArray[np.float64]:
    """Return the autocorrelation of such noise at distances of 0, 1, ... pixels along an axis,
    (size,).
    """
    power = gaussian_transfer(max(64, 4 * size), sigma) ** 2
    covariance = np.fft.ifft(power).real[:size]
    return np.asarray(covariance / covariance[0])
