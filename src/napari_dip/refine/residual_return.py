"""What neighbouring residuals have in common: light that the fit has not put in its place yet."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import blurred
from napari_dip.physics.problem import Problem
from napari_dip.refine.compact_sources import near_sources

WIDTH, THEREABOUTS = 2.0, 6.0  # standard deviations of the Gaussians. [pixel]


def residual_returned(x: torch.Tensor, problem: Problem) -> torch.Tensor:
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
    seen, noise = problem.scene_and_noise(x)
    left = _inside(seen - x)
    variance = _inside(torch.where(problem.told[0], noise**2, 0.0), squared=True)
    around, expected = blurred(left**2, THEREABOUTS), blurred(variance, THEREABOUTS)
    share = 1 - expected / around.clamp(min=1e-30)
    return x + share.clamp(min=0) * left


def sources_returned(x: torch.Tensor, problem: Problem) -> torch.Tensor | None:
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
    seen, noise = problem.scene_and_noise(x)
    near = near_sources(x, noise, problem.observed[0])
    if near is None:
        return None
    return x + near * _inside(torch.where(problem.told[0], seen - x, 0.0))


def _inside(planes: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    """Blurred planes (C, H, W), with nothing beyond their edges: a border has no noise of its own."""
    margin = round(3 * WIDTH)
    wide = torch.nn.functional.pad(planes, 4 * (margin,))
    return blurred(wide, WIDTH, squared=squared)[..., margin:-margin, margin:-margin]
