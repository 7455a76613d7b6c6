"""Correlated noise: white noise smoothed by a Gaussian, as resampling does."""

import numpy as np
from numpy.typing import NDArray

WHITE_SHARE = 0.02  # of smooth noise, without which the covariance of a wide Gaussian is nearly singular


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


def shift_correlation(size: int, sigma: float) -> NDArray[np.float64]:
    """Return the correlation of such noise between pixels 0, 1, ... rows and columns apart,
    (size, size); a small part of it is taken to be white.
    """
    along = autocorrelation(size, sigma)
    smooth = (1 - WHITE_SHARE) * np.outer(along, along)
    smooth[0, 0] = 1.0
    return np.asarray(smooth)
