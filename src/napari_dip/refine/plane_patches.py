"""Estimates of patches, plane by plane; and images that are made of them alone, without a network."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Literal

from napari_dip.core.errors import SettingsError
from napari_dip.core.torch_import import torch
from napari_dip.physics.jpeg import from_planes, to_planes
from napari_dip.physics.problem import Problem
from napari_dip.refine.chained_patches import chain_patches
from napari_dip.refine.residual_return import noisy_scene

JPEG_ERROR_FACTOR = 1.1  # errors of neighbors are alike, so that patches have more noise than pixels
MAX_VARIANCE_GROWTH = 0.5  # four photons; groups of patches that look alike are biased by skew noise


def denoise_by_patches(problem: Problem) -> Generator[None, None, torch.Tensor]:
    """Estimate the scene (C, H, W) by two passes of combinations of patches, without a network.

    A generator that yields between two parts of the work. Pixels that are not observed are filled from
    their neighbors, before. Of a JPEG image, luminance and color differences are estimated, in more
    passes.

    Parameters
    ----------
    problem : Problem
        The data; the operator is the identity.

    Raises
    ------
    SettingsError
        If there are so few photons that patches which look alike are a biased choice.
    """
    if is_skew(problem):
        raise SettingsError(
            "there are fewer than about four photons per pixel, of which patches alone lose flux: choose"
            " another quality, or solver.method",
            setting="solver.method",
        )
    coding = problem.likelihood.coding
    if coding is not None:
        planes = to_planes(problem.y[0])
        noise = JPEG_ERROR_FACTOR * planes.new_tensor(coding.errors)[:, None, None].expand_as(planes)
        chain = partial(chain_patches, decorrelate=False)
        return from_planes((yield from by_plane(chain, None, planes, noise, problem)))
    return (yield from chain_quickly(problem, *noisy_scene(problem, problem.smoothed[0])))


def chain_quickly(
    problem: Problem, data: torch.Tensor, noise: torch.Tensor
) -> Generator[None, None, torch.Tensor]:
    """Estimate the scene from data and their noise (C, H, W) by two passes, without a pilot: the fastest
    that is as good as BM3D (docs/benchmarks/performance.md).
    """
    width = problem.likelihood.properties.correlation_sigma
    estimate = partial(
        chain_patches, correlation_sigma=width, passes=2, patch_size=7, stride=5, radius=16
    )
    return (yield from by_plane(estimate, None, data, noise, problem))


def by_plane(
    estimate: Callable[..., Generator[None, None, torch.Tensor]],
    pilot: torch.Tensor | None,
    data: torch.Tensor,
    noise: torch.Tensor,
    problem: Problem,
    *,
    axis: Literal["T", "C", "Z"] = "C",
) -> Generator[None, None, torch.Tensor]:
    """Estimate planes along one axis jointly, from their pilot, data and noise (N, H, W), and those
    along the others separately.
    """
    layout, estimated = problem.scene_layout, torch.empty_like(data)
    planes = torch.arange(layout.num_planes).reshape(layout.shape).movedim("TCZ".index(axis), -1)
    for joint in planes.flatten(0, 1):
        parts = [None if image is None else image[joint] for image in (pilot, data, noise)]
        if data.device.type == "mps":  # which has no double precision
            parts = [None if part is None else part.cpu() for part in parts]
        estimated[joint] = (yield from estimate(*parts)).to(data.device)
    return estimated


def is_skew(problem: Problem) -> bool:
    """Whether the noise is that of few photons: its variance grows much with a mean one sigma larger.

    By no share of itself for Gaussian noise, and for photons by the inverse root of their number, their
    skewness.
    """
    likelihood, mean = problem.likelihood, problem.smoothed
    std = likelihood.random_std(mean).expand_as(mean)
    more = likelihood.random_std(mean + std).expand_as(mean)
    return float(((more / std).square() - 1)[problem.observed].median()) > MAX_VARIANCE_GROWTH
