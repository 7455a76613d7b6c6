"""Spectral shrinkage: frequencies of an image that are noise are damped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.optimize import isotonic_regression

from napari_dip.core.torch_import import torch
from napari_dip.physics.data_consistency import wiener_estimate
from napari_dip.physics.filters import masked_mean
from napari_dip.physics.problem import Problem

MIN_FREQUENCY = 0.01  # cycles per pixel: lower ones stay as they are
NUM_RINGS = 40  # of frequencies, in geometric progression


def shrink_spectrum(x: torch.Tensor, problem: Problem, probe: torch.Tensor) -> torch.Tensor:
    """Return `x` with its frequencies multiplied by gains that fall from 1 to 0.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene.
    problem : Problem
        All of the data.
    probe : (T, C, Y, X) tensor
        Numbers whose covariance with x is that of the noise of the data.

    Notes
    -----
    In each ring of frequencies the gain g minimizes the expected error of the predicted data,
    E |g A x - A truth|^2: g = (<A x, y> - cov(A x, noise)) / <A x, A x>, where the covariance is
    measured with the probe. Gains do not increase with frequency (isotonic regression).

    References
    ----------
    .. [1] Efron, "The estimation of prediction error: covariance penalties and cross-validation",
           J. Am. Stat. Assoc. 99 (2004) 619, eq. (2.8).
    .. [2] Blu, Luisier, "The SURE-LET approach to image denoising", IEEE Trans. Image Process. 16
           (2007) 2778, doi:10.1109/TIP.2007.906002.
    """
    predicted = problem.predicted(x)
    noise = problem.noise_std(x)
    # An estimate of A x that does not depend on the probe: about it the covariance is less uncertain.
    linear = problem.predicted(wiener_estimate(problem))

    def spectrum(data: torch.Tensor) -> NDArray[np.float64]:
        normalized = torch.where(problem.observed, data / noise, 0.0).cpu().double().numpy()
        return np.asarray(dctn(normalized, axes=(-2, -1), norm="ortho"))

    seen = problem.operator(x)
    own = spectrum(seen - masked_mean(problem.observed, seen))
    product = own * (own + spectrum(problem.y - predicted))
    product -= spectrum(probe) * spectrum(predicted - linear)
    radii = _frequencies(own.shape[-2:], (1.0, 1.0))
    edges = np.geomspace(MIN_FREQUENCY, radii.max(), NUM_RINGS)
    ring = np.broadcast_to(np.digitize(radii, edges), own.shape).ravel()
    power = np.bincount(ring, (own**2).ravel(), NUM_RINGS + 1)[1:NUM_RINGS]
    covariance = np.bincount(ring, product.ravel(), NUM_RINGS + 1)[1:NUM_RINGS]
    known = power > 0
    gains = isotonic_regression(
        covariance[known] / power[known], weights=power[known], increasing=False
    ).x.clip(0, 1)
    centers = np.sqrt(edges[1:] * edges[:-1])[known]
    scene = x.cpu().double().numpy()
    mean = scene.mean(axis=(-2, -1), keepdims=True)
    gain = np.interp(_frequencies(scene.shape[-2:], problem.operator.scale_factor), centers, gains)
    gain[0, 0] = 1
    shrunk = mean + idctn(
        gain * dctn(scene - mean, axes=(-2, -1), norm="ortho"), axes=(-2, -1), norm="ortho"
    )
    return torch.from_numpy(shrunk.astype(np.float32)).to(x.device)


def _frequencies(shape: tuple[int, int], scale: tuple[float, float]) -> NDArray[np.float64]:
    """The frequency of each coefficient of a cosine transform, (Y, X), in cycles per pixel of the
    data.
    """
    rows, columns = (s * np.arange(n) / (2 * n) for n, s in zip(shape, scale, strict=True))
    return np.hypot(rows[:, None], columns)
