"""Residual correction: flux that the fit missed is found in the smoothed residual, and added back."""

from __future__ import annotations

import math

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine.compact_sources import (
    SOURCE_RIM_PX,
    max_filter,
    source_weights,
    white_top_hat,
)

RESIDUAL_SIGMA_PX = 2.0  # of the Gaussian that smooths the residual
SCALE_SIGMA_PX = 2.0  # of the Gaussian within which sources have one factor
MIN_SCALE_POWER = 9.0  # square of the sigmas of a source below which its factor is drawn to 1
SCALE_ITERATIONS = 2
SHAPE_ERROR = 0.02  # of a source in an estimate, over its brightness
SURROUNDINGS_SIGMA_PX = 3.0  # of the Gaussian that smooths the surroundings of sources
WINGS_SIGMA_PX = 4.0  # of the Gaussian that smooths what their factors leave
LOCAL_SIGMA_PX = 6.0  # of the Gaussian over which its power is averaged


def noisy_scene(problem: Problem, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the data as a noisy scene, with `x` where nothing is observed, and their noise; (C, H, W).

    It is for operators that are the identity.
    """
    std = problem.likelihood.std(problem.predicted(x))[0].expand_as(x)
    median = std[std.isfinite()].median()
    noise = torch.where(std.isfinite(), std, median)
    return torch.where(problem.uncensored[0], problem.y[0], x), noise


def add_residual(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return `x` plus that part of its smoothed residual which exceeds the noise locally.

    A joint fit of many planes learns late what is in one of them only, such as a cell that moved. Its
    residual then has the same sign over several pixels, where noise has not.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene; the operator is the identity.
    problem : Problem
        The data; where nothing is observed there is no residual.

    Notes
    -----
    The smoothed residual r is multiplied by max(0, 1 - v / <r^2>), where v is the variance that noise
    gives it, and the mean is taken around each pixel: a Wiener filter with the local power.

    References
    ----------
    .. [1] Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE Trans.
           Pattern Anal. Mach. Intell. 2 (1980) 165.
    """
    data, noise = noisy_scene(problem, x)
    residual = _blur_zero_padded(data - x)
    variance = _blur_zero_padded(torch.where(problem.uncensored[0], noise**2, 0.0), squared=True)
    power, expected = gaussian_blur(residual**2, LOCAL_SIGMA_PX), gaussian_blur(variance, LOCAL_SIGMA_PX)
    share = 1 - expected / power.clamp(min=1e-30)
    return x + share.clamp(min=0) * residual


def add_source_flux(x: torch.Tensor, problem: Problem) -> torch.Tensor | None:
    """Return `x` plus its smoothed residual near small bright sources; None if there are none.

    A fit draws what is faint toward its surroundings, and a star's flux with it: by several per cent
    where its peak is a few sigmas high. The residual still has that flux, under noise. It is smoothed
    and added back to stars and the like only: what is narrow and higher than the noise of a pixel, in an
    image that is mostly empty. There fluxes are as unbiased as those of the data, and have some of their
    noise.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene; the operator is the identity.
    problem : Problem
        The data.
    """
    data, noise = noisy_scene(problem, x)
    weights = source_weights(x, noise, problem.observed[0])
    if weights is None:
        return None
    return x + weights * _blur_zero_padded(torch.where(problem.uncensored[0], data - x, 0.0))


def restore_source_flux(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return `x` with the flux that its sources have in the data.

    An estimate draws faint sources toward the sky, by a tenth of their flux where it is ten times its
    noise, but it shows their shape. So around each pixel one factor is fitted to the residual: that of
    the source itself, which has the noise of one number, and not of all its pixels. It is drawn to 1
    where the source has fewer than some three sigmas, and fitted once more to what is left. What then is
    left near sources, such as their faint wings, is smoothed and added. The shape is right to 2 per
    cent: pixels so bright that this is more than their noise are drawn to the data.

    Each pixel depends on others within 82 pixels, so that parts of an image can be processed alone.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene; the operator is the identity.
    problem : Problem
        The data; where nothing is observed there is no residual.
    """
    source = torch.zeros_like(x)
    for _ in range(SCALE_ITERATIONS):
        x, source = _scale_sources(x, problem)
    known, noise = problem.uncensored[0], noise_of_pixels(x, problem)
    cores = (white_top_hat(x) > noise).any(dim=0, keepdim=True).to(x)
    near = gaussian_blur(max_filter(cores, 2 * SOURCE_RIM_PX + 1), SOURCE_RIM_PX / 2)
    x = x + near * gaussian_blur(torch.where(known, problem.y[0] - x, 0.0), WINGS_SIGMA_PX)
    error = SHAPE_ERROR * source
    return x + torch.where(known, problem.y[0] - x, 0.0) * error**2 / (error**2 + noise**2)


def _scale_sources(x: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """`x` with one factor for what stands out around each pixel; and what stands out."""
    source = x - gaussian_blur(x - white_top_hat(x), SURROUNDINGS_SIGMA_PX)
    noise = torch.hypot(noise_of_pixels(x, problem), SHAPE_ERROR * source)
    known, sigmas = problem.uncensored[0].to(x), source / noise
    covariance, power = matched_sums((problem.y[0] - x) / noise, sigmas, known, SCALE_SIGMA_PX)
    factor: torch.Tensor = covariance / (power + MIN_SCALE_POWER)
    return x + factor * source, source


def matched_sums(
    data: torch.Tensor, template: torch.Tensor, known: torch.Tensor, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of data times template, and of the template squared, around each pixel.

    Both are in units of the noise, count where they are `known` (1, else 0), and are weighted by a
    Gaussian of height 1 and standard deviation `sigma` [pixel].
    """
    products = known * torch.stack((data * template, template**2))
    product, power = gaussian_blur(products, sigma) * (2 * math.pi * sigma**2)
    return product, power


def noise_of_pixels(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return the noise of each pixel of the scene `x`, (C, H, W); 1 where nothing is observed."""
    noise = problem.noise_std(x)[0]
    return torch.where(problem.observed[0] & (noise > 0), noise, 1.0)


def _blur_zero_padded(planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    """Blurred planes (C, H, W), with zeros beyond the edges: a border has no more noise than the
    rest.
    """
    margin = round(3 * RESIDUAL_SIGMA_PX)
    wide = torch.nn.functional.pad(planes, 4 * (margin,))
    return gaussian_blur(wide, RESIDUAL_SIGMA_PX, squared=squared)[..., margin:-margin, margin:-margin]
