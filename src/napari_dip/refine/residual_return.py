"""What neighbouring residuals have in common: light that the fit has not put in its place yet."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine.compact_sources import source_weights

RESIDUAL_SIGMA_PX, LOCAL_SIGMA_PX = 2.0, 6.0  # standard deviations of the Gaussians. [pixel]


def add_residual(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """The scene `x` (C, H, W), and of its smoothed residual what is beyond the noise thereabouts.

    A fit to many planes learns late what is in one of them only, a cell that has moved. Its residual
    then has a sign over some pixels, where noise has none. The smoothed residual r gets the factor
    1 - v / <r^2>, never below 0, with v the variance that noise gives it and the mean taken around each
    pixel: Wiener's filter, with the power as found.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene, which the data show as it is.
    problem : Problem
        The data; where nothing is observed there is no residual.

    References
    ----------
    .. [1] Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE Trans.
           Pattern Anal. Mach. Intell. 2 (1980) 165.
    """
    seen, noise = problem.noisy_scene(x)
    left = _blur_zero_padded(seen - x)
    variance = _blur_zero_padded(torch.where(problem.uncensored[0], noise**2, 0.0), squared=True)
    around, expected = gaussian_blur(left**2, LOCAL_SIGMA_PX), gaussian_blur(variance, LOCAL_SIGMA_PX)
    share = 1 - expected / around.clamp(min=1e-30)
    return x + share.clamp(min=0) * left


def add_source_flux(x: torch.Tensor, problem: Problem) -> torch.Tensor | None:
    """The scene `x` (C, H, W), with its smoothed residual about small bright sources; None without any.

    A fit draws what is faint towards its surroundings, and a star's flux with it: by several per cent
    where its peak is a few sigmas high. The residual has that flux still, under noise. So it is smoothed
    and returned, to stars and the like only: what is narrow and higher than the noise of a
    pixel, in an image that is empty for the most part. Fluxes there are as free of bias as the
    data's, and have some of their noise.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene, which the data show as it is.
    problem : Problem
        The data.
    """
    seen, noise = problem.noisy_scene(x)
    near = source_weights(x, noise, problem.observed[0])
    if near is None:
        return None
    return x + near * _blur_zero_padded(torch.where(problem.uncensored[0], seen - x, 0.0))


def _blur_zero_padded(planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    """Blurred planes (C, H, W), with nothing beyond their edges: a border has no noise of its own."""
    margin = round(3 * RESIDUAL_SIGMA_PX)
    wide = torch.nn.functional.pad(planes, 4 * (margin,))
    return gaussian_blur(wide, RESIDUAL_SIGMA_PX, squared=squared)[..., margin:-margin, margin:-margin]
