"""The mean of frames at their poses, and its noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._pose_search import Level, PoseSearch
from napari_dip.physics.operators._rigid_motion import MovingOperator
from napari_dip.physics.operators.exposures import plane_medians

MEAN_ITER = 20  # of conjugate gradients
SMOOTHNESS = 1e-3  # of the mean: noise that the search for poses would smooth stays
MIN_COVERAGE = 0.5  # frames that show a pixel of the mean
NOISE_SMOOTHING_PX = 2  # Gaussian over which the scatter of the frames is averaged
MISFIT = 2.0  # median square of residuals, over that of a typical frame, up to which one counts fully
TINY = 1e-6  # weight of all frames at a pixel that none shows


@dataclass(frozen=True)
class FrameMean:
    """The least squares mean of frames.

    Attributes
    ----------
    image, std : (C, H, W) tensor
        The mean, and the standard deviation of its noise.
    observed : (C, H, W) tensor
        Which pixels at least one frame shows.
    """

    image: torch.Tensor
    std: torch.Tensor
    observed: torch.Tensor

    @classmethod
    def of_frames(
        cls, level: Level, sigmas: NDArray[np.float64], *, match_background: bool
    ) -> FrameMean:
        """Return the mean of the frames of `level`, which has the poses and the full size.

        Parameters
        ----------
        level : Level
            The frames (T, C, Y, X), about a level of 0.
        sigmas : (T, C) array
            Their noise, roughly: how much they count depends on its ratios; NaN where it is unknown.
        match_background : bool
            Match the background of each frame to that of the first: the median of what is left without
            the mean.

        Notes
        -----
        With weights q of frames whose noise has the variances v, the squares of the residuals of a
        pixel, q r^2, sum to S1 - S2 / Q on average, where Q, S1 and S2 are the sums of q, q v and q^2 v;
        the mean has the variance S2 / Q^2. So their ratio, over the pixels around, is the variance of a
        frame for which v is 1. Residuals have no weight where there is one frame only.
        """
        relative = _relative_variances(sigmas)
        search = PoseSearch(level, 1 / relative, smoothness=SMOOTHNESS)
        search.fit_scene(MEAN_ITER)
        residual = torch.where(level.observed, search.residual(), torch.nan)
        if match_background:
            level = replace(level, y=level.y - search.unit * _offsets(residual) * level.observed)
        weights = _fit_to_mean(residual, relative) / relative
        search = PoseSearch(level, weights, smoothness=SMOOTHNESS)
        search.fit_scene(MEAN_ITER)

        shown = to_scene(level.operator, level.observed.float())

        def sums(factor: torch.Tensor) -> torch.Tensor:
            return torch.einsum("t,tcyx->cyx", factor, shown)

        total = sums(weights).clamp(min=TINY)
        s1, s2 = sums(weights * relative), sums(weights.square() * relative)
        squares = to_scene(level.operator, (level.observed * search.residual()).square())
        found = _smooth(torch.einsum("t,tcyx->cyx", weights, squares))
        expected = _smooth((s1 - s2 / total).clamp(min=0))
        unit = _channel_medians(sigmas).astype(np.float32) / float(search.unit)
        typical = _typical_ratio(found, expected, torch.from_numpy(np.nan_to_num(unit) ** 2))
        variance = (found + typical) / (expected + 1)
        return cls(
            search.unit * search.x,
            search.unit * (variance * s2).sqrt() / total,
            shown.sum(dim=0) >= MIN_COVERAGE,
        )


def to_scene(operator: MovingOperator, frames: torch.Tensor) -> torch.Tensor:
    """Return frames (T, C, Y, X) on the grid of the scene, (T, C, H, W), 0 where they do not reach.

    Linear interpolation leaves positive what is positive.
    """
    angle, shift = operator.poses[:, 0], operator.poses[:, 1:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    half = (torch.tensor(operator.sides) - 1) / 2  # grid_sample counts in these, and X first
    ratio = half[0] / half[1] * operator.aspect
    turn = torch.stack((cos, -sin * ratio, sin / ratio, cos), dim=1).reshape(-1, 2, 2)
    matrix = torch.cat((turn, (shift / half).flip(1)[..., None]), dim=2)
    padded = operator.observe_adjoint(frames)
    grid = torch.nn.functional.affine_grid(matrix, list(padded.shape), align_corners=True)
    return torch.nn.functional.grid_sample(padded, grid, align_corners=True)


def _relative_variances(sigmas: NDArray[np.float64]) -> torch.Tensor:
    """The variances of frames (T,) over that of a typical one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (sigmas / _channel_medians(sigmas)) ** 2
    ratios = np.where(np.isfinite(ratios) & (ratios > 0), ratios, np.nan)
    known = np.isfinite(ratios).any(axis=1)
    found = np.ones(len(ratios))
    found[known] = np.nanmedian(ratios[known], axis=1)
    return torch.from_numpy(found.astype(np.float32))


def _channel_medians(sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median (C,) over the frames of (T, C); NaN where no frame has the channel."""
    return plane_medians(sigmas.T[:, None])


def _fit_to_mean(residual: torch.Tensor, relative: torch.Tensor) -> torch.Tensor:
    """How well frames fit to a mean, (T,): 1, or less where their residuals exceed their noise."""
    ratio = residual.square().flatten(1).nanmedian(dim=1).values / relative
    limit = MISFIT * ratio.nanmedian()
    return (limit / ratio.clamp(min=TINY * limit)).clamp(max=1).square().nan_to_num()


def _offsets(residual: torch.Tensor) -> torch.Tensor:
    """The background of each frame beyond that of the first frame of its channel, (T, C, 1, 1)."""
    medians = plane_medians(residual.numpy())[..., None, None]
    return torch.from_numpy(np.nan_to_num(medians - first_known(medians)).astype(np.float32))


def first_known(levels: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what the first frame that has data says of each channel: (T, C, 1, 1) to (1, C, 1, 1)."""
    first = np.isfinite(levels).argmax(axis=0)[None]
    known: NDArray[np.floating] = np.nan_to_num(np.take_along_axis(levels, first, axis=0))
    return known


def _typical_ratio(found: torch.Tensor, expected: torch.Tensor, otherwise: torch.Tensor) -> torch.Tensor:
    """The median of `found` over `expected` in each channel, where several frames are; (C, 1, 1)."""
    ratios = [
        (f[e > MIN_COVERAGE] / e[e > MIN_COVERAGE]).median() if (e > MIN_COVERAGE).any() else one
        for f, e, one in zip(found, expected, otherwise, strict=True)
    ]
    return torch.stack(ratios)[:, None, None]


def _smooth(planes: torch.Tensor) -> torch.Tensor:
    from scipy.ndimage import gaussian_filter

    return torch.from_numpy(gaussian_filter(planes.numpy(), (0, NOISE_SMOOTHING_PX, NOISE_SMOOTHING_PX)))
