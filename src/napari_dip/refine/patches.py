"""Nonlocal Bayes: similar patches are estimated together, with the fitted image as the pilot."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import shift_correlation
from napari_dip.refine._patch_search import PatchMean, find_similar, square_shifts

SEARCH_RADIUS_PX = 10  # around a patch, within which similar ones are searched for
SEARCH_STRIDE_PX = 2  # between two patches that have a group
OWN_PILOT_STRIDE_PX = 4  # the same, where the image is its own pilot and is estimated many times


@dataclass(frozen=True)
class PatchSettings:
    """The side of a patch [pixel], and the number of patches in a group."""

    patch_size: int
    group_size: int


def nonlocal_bayes(
    pilot: torch.Tensor,
    data: torch.Tensor,
    std: torch.Tensor,
    correlation_sigma: float,
    settings: PatchSettings,
) -> Generator[None, None, torch.Tensor]:
    """Estimate patches of the scene that are similar in the `pilot` together, from the data.

    A generator that yields between two batches of groups.

    Parameters
    ----------
    pilot : (C, H, W) tensor
        An estimate of the scene with little noise.
    data : (C, H, W) tensor
        The scene under noise.
    std : (C, H, W) tensor
        Standard deviation of the noise, finite and above 0.
    correlation_sigma : float
        Standard deviation of the Gaussian that smoothed the noise; 0 for white noise. [pixel]
    settings : PatchSettings
        Size of the patches and of the groups.

    Returns
    -------
    (C, H, W) tensor

    Notes
    -----
    Each group gets the linear minimum mean square error estimate, with the covariance of the pilot's
    patches, the noise of the data, and the mean of the pilot, shifted to that of the data where they
    differ by more than noise.

    References
    ----------
    .. [1] Lebrun, Buades, Morel, "A nonlocal Bayesian image denoising algorithm", SIAM J. Imaging
           Sci. 6 (2013) 1665, doi:10.1137/120874989, eq. (12); there the pilot is a first estimate of
           the same kind.
    """
    size = settings.patch_size
    unit = std.median()  # data of 1e-20 squared would vanish in float32
    flat_pilot, flat_data, flat_std = ((image / unit).flatten() for image in (pilot, data, std))
    covariance = torch.kron(torch.eye(len(pilot)), _noise_covariance(size, correlation_sigma))
    covariance = covariance.to(pilot.device)
    mean = PatchMean(pilot.shape, size, pilot.device)
    shifts = square_shifts(SEARCH_RADIUS_PX)
    planes, number = flat_pilot.reshape(pilot.shape), settings.group_size
    for corners in find_similar(planes, size, number, SEARCH_STRIDE_PX, shifts):
        pixels = mean.pixels(corners)
        noise = flat_std[pixels].square().mean(dim=1, keepdim=True).sqrt()
        pilots, noisy = ((image[pixels] / noise).double() for image in (flat_pilot, flat_data))
        mean.add(pixels, (noise * _estimate_groups(pilots, noisy, covariance)).float())
        yield
    return unit * mean.image()


def smooth_patches(
    image: torch.Tensor, std: float, settings: PatchSettings
) -> Generator[None, None, torch.Tensor]:
    """Estimate similar patches of an image together, which is the data and the pilot at once.

    A generator that yields between two batches of groups.

    Parameters
    ----------
    image : (C, H, W) tensor
        An estimate of the scene.
    std : float
        Standard deviation of its errors, which are taken to be white.
    settings : PatchSettings
        Size of the patches and of the groups.

    Returns
    -------
    (C, H, W) tensor

    Notes
    -----
    The estimate of `nonlocal_bayes`, where pilot and data are the same. As a group has fewer patches
    than a patch has pixels, the matrix that is inverted is that of the products of its patches: with the
    centered patches P as rows, P (P'P / (K - 1) + 1)^-1 P'P / (K - 1) = P - (P P' / (K - 1) + 1)^-1 P.
    """
    size, shifts = settings.patch_size, square_shifts(SEARCH_RADIUS_PX)
    planes = image / std
    mean = PatchMean(image.shape, size, image.device)
    for corners in find_similar(planes, size, settings.group_size, OWN_PILOT_STRIDE_PX, shifts):
        pixels = mean.pixels(corners)
        patches = planes.flatten()[pixels].double()
        centered = patches - patches.mean(dim=1, keepdim=True)
        products = centered @ centered.mT / (centered.shape[1] - 1)
        products.diagonal(dim1=1, dim2=2).add_(1)
        noise = torch.cholesky_solve(centered, torch.linalg.cholesky(products))
        mean.add(pixels, (patches - noise).float())
        yield
    return std * mean.image()


def _estimate_groups(
    pilot: torch.Tensor, data: torch.Tensor, noise_covariance: torch.Tensor
) -> torch.Tensor:
    """The estimate of groups of patches (B, K, d), in units of the noise."""
    size = pilot.shape[1]
    mean = pilot.mean(dim=1, keepdim=True)
    centered = pilot - mean
    covariance = centered.mT @ centered / (size - 1)
    mean = mean + _james_stein(data.mean(dim=1, keepdim=True) - mean, noise_covariance, size)
    estimate: torch.Tensor = mean + (data - mean) @ torch.linalg.solve(
        covariance + noise_covariance, covariance
    )
    return estimate


def _noise_covariance(size: int, correlation_sigma: float) -> torch.Tensor:
    """The covariance of the noise of a patch, (size^2, size^2), of variance 1."""
    if not correlation_sigma:
        return torch.eye(size**2, dtype=torch.double)
    rows, columns = np.divmod(np.arange(size**2), size)
    apart = (abs(line[:, None] - line) for line in (rows, columns))
    return torch.from_numpy(shift_correlation(size, correlation_sigma)[*apart])


def _james_stein(difference: torch.Tensor, covariance: torch.Tensor, number: int) -> torch.Tensor:
    """The `difference` (..., d) of two means, shrunk by what the noise of `number` data explains.

    The `covariance` (d, d) is that of the noise of one datum.

    References
    ----------
    .. [1] James, Stein, "Estimation with quadratic loss", Proc. Fourth Berkeley Symp. 1 (1961) 361,
           eq. (6); its positive part.
    """
    expected = (difference.shape[-1] - 2) / number
    measured = (difference @ torch.linalg.inv(covariance) * difference).sum(dim=-1, keepdim=True)
    shrunk: torch.Tensor = (1 - expected / measured.clamp(min=1e-12)).clamp(min=0) * difference
    return shrunk
