"""Refinement: what is done with a fitted image, and when."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping import StoppingMonitor
from napari_dip.physics.data_consistency import project_onto_data, rms_beyond_wiener
from napari_dip.physics.problem import Problem
from napari_dip.refine.chained_patches import chain_patches
from napari_dip.refine.compact_sources import source_weights
from napari_dip.refine.conditional_patches import can_fill, fill_missing
from napari_dip.refine.insignificant_peaks import correct_sources
from napari_dip.refine.patches import PatchSettings, nonlocal_bayes, smooth_patches
from napari_dip.refine.plane_patches import by_plane, chain_quickly, is_skew
from napari_dip.refine.residual_return import add_residual, noisy_scene
from napari_dip.refine.step_weights import (
    TYPICAL_OF_JOINT_PLANES,
    TYPICAL_OF_PLANE,
    pixel_noise,
    split_step,
    step_weights,
)

Method = Literal["patches", "spectrum", "residual", "none"]
AmortizedRefinement = Literal["source-flux", "chain", "none"]

# Noise of an image that agrees with the data, over its r.m.s. distance from the Wiener estimate: where
# pixels are missing, and where all are finer than those of the data.
INPAINT_NOISE_FACTOR, UPSAMPLE_NOISE_FACTOR = 1.5, 2.0
FASTER_CHAIN = {"patch_size": 7, "stride": 6}  # for stacks; with half the passes a quarter of the time


class Refinement(Settings):
    """Processing of the data after the fit, with the fitted image as a pilot.

    The pilot lacks noise, so it shows well which patches are similar and how they vary; the data have
    what it has not learned. Behind a blur, the data show at which frequencies the pilot is noise.
    """

    patch_method: Literal["auto", "chained", "nonlocal-bayes", "none"] = "auto"
    """Estimate similar patches together: by combinations of them in several passes (chained), or by
    their covariance (nonlocal Bayes). Automatic: where the operator is the identity and the noise is
    uniform and as its model says, the mean of both; but chained alone for one channel that is mostly
    empty, or has correlated noise, or several times or depths. Planes that are
    restored jointly are chained both jointly and separately, if their noise is independent; data that
    were not fitted say how much of each is taken. Nonlocal Bayes where the result has to agree with the
    data, or fewer than four photons are usual; none behind a blur. Where single pixels are missing and
    the others stay as they are, missing ones are estimated from the known ones of their patches."""
    passes: Annotated[int, Field(ge=1, le=20)] = 6
    """Number of passes of the chain; each takes out a part of the noise."""
    iterations: Annotated[int, Field(ge=1, le=20)] | None = None
    """Number of iterations of nonlocal Bayes, each with the result of the one before as the pilot;
    automatic: 2, and where the result has to agree with the data 3, or 10 on a finer grid."""
    patch_size: Annotated[int, Field(ge=2, le=12)] | None = None
    """Side of a patch of nonlocal Bayes; automatic: 7 for one channel, 5 for more. [pixel]"""
    group_size: Annotated[int, Field(ge=8, le=100)] = 30
    """Number of similar patches in a group of nonlocal Bayes."""
    spectral_shrinkage: Literal["auto", "off"] = "auto"
    """Damp the frequencies that are noise. Automatic: behind a blur, where the fit stopped by data
    fission."""
    residual_correction: Literal["auto", "off"] = "auto"
    """Add back to each plane what is correlated in its residual beyond noise. Automatic: where planes
    are restored jointly, under independent noise that is as its model says; besides patches as much
    as data that were not fitted confirm."""

    source_flux_correction: Literal["auto", "off"] = "auto"
    """Add back flux that the fit missed to small bright sources, so that fluxes are not too low, with
    some of the noise of the data; and flatten small peaks of less than 4.5 sigmas. Automatic: where most
    of the image is empty, and patches are estimated or one network is applied everywhere."""

    def select_method(
        self, problem: Problem, monitor: StoppingMonitor, *, hard_data_consistency: bool
    ) -> Method:
        """Return what is done to an image that was fitted to `problem` under `monitor`."""
        identity, properties = problem.operator.is_identity, problem.likelihood.properties
        if hard_data_consistency:
            complete = identity and bool(problem.observed.all())
            return "none" if complete or self.patch_method == "none" else "patches"
        if not identity:
            has_probe = monitor.noise_probe is not None
            return "spectrum" if self.spectral_shrinkage == "auto" and has_probe else "none"
        is_stack = problem.scene_layout.is_stack
        suits = self._is_joint(problem, monitor) if is_stack else properties.can_be_sampled
        if (self.patch_method == "auto" and suits) or self.patch_method in ("chained", "nonlocal-bayes"):
            return "patches"
        joint = self.residual_correction == "auto" and properties.kind == "white" and is_stack
        return "residual" if joint else "none"

    def select_amortized(
        self, problem: Problem, *, is_sparse: bool, hard_data_consistency: bool
    ) -> AmortizedRefinement:
        """Return what is done to the image of an amortized fit to `problem`, the same in all parts.

        Most of an image that `is_sparse` is empty.
        """
        if hard_data_consistency:
            return "none"
        if is_sparse:
            return "source-flux" if self.source_flux_correction == "auto" else "none"
        return "chain" if self.can_chain(problem) else "none"

    def can_chain(self, problem: Problem) -> bool:
        """Whether a chain is wanted and suits the noise, which is too skew where there are few
        photons.
        """
        if self.patch_method != "auto":
            return self.patch_method == "chained"
        return problem.likelihood.properties.can_be_sampled and not is_skew(problem)

    def chain(
        self, x: torch.Tensor, problem: Problem, axis: Literal["T", "C", "Z"] = "C"
    ) -> Generator[None, None, torch.Tensor]:
        """Refine the scene `x` (C, H, W) by a chain of combinations of patches, all of it; planes along
        one axis jointly.
        """
        width = problem.likelihood.properties.correlation_sigma
        chain = partial(chain_patches, correlation_sigma=width, passes=self.passes)
        if problem.scene_layout.is_stack:
            chain = partial(chain, **FASTER_CHAIN, passes=(self.passes + 1) // 2)
        return (yield from by_plane(chain, x, *noisy_scene(problem, x), problem, axis=axis))

    def _is_joint(self, problem: Problem, monitor: StoppingMonitor) -> bool:
        """Whether times or depths are refined jointly; the data show how well that works."""
        is_white = problem.likelihood.properties.kind == "white"
        has_probe = monitor.noise_probe is not None
        return problem.scene_layout.is_stack and has_probe and is_white and self.can_chain(problem)

    def refine(
        self,
        x: torch.Tensor,
        problem: Problem,
        monitor: StoppingMonitor,
        *,
        hard_data_consistency: bool,
        is_single_fit: bool,
    ) -> Generator[None, None, torch.Tensor]:
        """Refine the scene `x` (C, H, W), which was fitted under `monitor`.

        A generator that yields between two parts of the work, for it takes its time.

        Parameters
        ----------
        x : (C, H, W) tensor
            The fitted image.
        problem : Problem
            All of the data.
        monitor : StoppingMonitor
            The stopping rule, which knows how much of the noise is in `x`.
        hard_data_consistency : bool
            Whether the result has to agree with the data.
        is_single_fit : bool
            Whether there is only one fit. In an ensemble only the fitted part of the data is used, and
            the rest validates later; the result of a single fit is not validated, and may use all data.
        """
        method = self.select_method(problem, monitor, hard_data_consistency=hard_data_consistency)
        if method == "spectrum" and monitor.noise_probe is not None:
            from napari_dip.refine.spectral_shrinkage import shrink_spectrum  # and scipy

            return shrink_spectrum(x, problem, monitor.noise_probe)
        if method == "residual":
            return add_residual(x, problem if is_single_fit else monitor.fit_problem)
        if method == "none":
            return x
        fitted = monitor.fit_problem
        if hard_data_consistency and can_fill(problem, fitted):
            return (yield from fill_missing(x, problem, fitted, is_single_fit=is_single_fit))
        if hard_data_consistency:
            return (yield from self._denoise_consistent(x, fitted))
        if self._is_joint(problem, monitor):
            return (yield from self._refine_jointly(x, problem, monitor, is_single_fit=is_single_fit))
        is_full = self.patch_method == "auto" and _is_full(x, problem)
        how = {"chains": self.can_chain(problem), "is_full": is_full}
        denoised = yield from self._denoise_data(x, fitted, **how)
        if monitor.noise_probe is None:
            return denoised
        noise = pixel_noise(problem, x)
        parts = split_step((denoised - x) / noise)
        weights = step_weights(parts, x, problem, monitor.noise_probe, TYPICAL_OF_PLANE)
        if is_single_fit:
            denoised = yield from self._denoise_data(x, problem, **how)
            parts = split_step((denoised - x) / noise)
        return x + noise * (weights[:, None, None, None] * parts).sum(dim=0)

    def _refine_jointly(
        self, x: torch.Tensor, problem: Problem, monitor: StoppingMonitor, *, is_single_fit: bool
    ) -> Generator[None, None, torch.Tensor]:
        """Refine several times or depths, jointly where they are alike and separately where not."""
        assert monitor.noise_probe is not None
        noise, fitted = pixel_noise(problem, x), monitor.fit_problem
        steps = yield from self._joint_steps(x, fitted, noise)
        weights = step_weights(steps, x, problem, monitor.noise_probe, TYPICAL_OF_JOINT_PLANES)
        if is_single_fit:
            steps = yield from self._joint_steps(x, problem, noise)
        return x + noise * (weights[:, None, None, None] * steps).sum(dim=0)

    def _joint_steps(
        self, x: torch.Tensor, problem: Problem, noise: torch.Tensor
    ) -> Generator[None, None, torch.Tensor]:
        """The steps to planes that are estimated jointly, separately, and by their residual."""
        jointly = yield from self.chain(x, problem, "T" if problem.scene_layout.times > 1 else "Z")
        separately = yield from self.chain(x, problem)
        corrected = x if self.residual_correction == "off" else add_residual(x, problem)
        return torch.stack([(other - x) / noise for other in (jointly, separately, corrected)])

    def correct_sources(
        self,
        x: torch.Tensor,
        problem: Problem,
        monitor: StoppingMonitor,
        *,
        hard_data_consistency: bool,
        is_single_fit: bool,
    ) -> tuple[torch.Tensor, bool]:
        """Return the refined scene with the missed flux of its sources, and without peaks that the
        data do not confirm; and whether it has such sources.

        The arguments are those of `refine`.
        """
        method = self.select_method(problem, monitor, hard_data_consistency=hard_data_consistency)
        off = self.source_flux_correction == "off" or self._is_joint(problem, monitor)
        if off or hard_data_consistency or method != "patches":
            return x, False
        return correct_sources(x, problem if is_single_fit else monitor.fit_problem)

    def _denoise_data(
        self, x: torch.Tensor, problem: Problem, *, chains: bool, is_full: bool
    ) -> Generator[None, None, torch.Tensor]:
        """Estimate patches of the data, with `x` as the first pilot.

        What the fit lacks of an image that is full, such as the threads of a cloth, shows in an estimate
        of patches alone: the pilot of the chain is the mean of both.
        """
        estimates = []
        if chains:
            pilot = x
            if is_full:
                pilot = (x + (yield from chain_quickly(problem, *noisy_scene(problem, x)))) / 2
            estimates.append((yield from self.chain(pilot, problem)))
        is_both = is_full or (self.patch_method == "auto" and problem.scene_layout.channels > 1)
        if is_both or not chains:
            for _ in range(self.iterations or 2):
                data, noise = noisy_scene(problem, x)
                x = yield from self._denoise_planes(x, data, noise, problem)
            estimates.append(x)
        return torch.stack(estimates).mean(dim=0)

    def _denoise_consistent(
        self, x: torch.Tensor, problem: Problem
    ) -> Generator[None, None, torch.Tensor]:
        """Estimate patches of `x`, which is taken to be noisy where the data do not constrain it."""
        identity = problem.operator.is_identity
        x = project_onto_data(problem, x)
        factor = INPAINT_NOISE_FACTOR if identity else UPSAMPLE_NOISE_FACTOR
        std = factor * rms_beyond_wiener(problem, x)
        if not std:
            return x
        settings = self._patch_settings(problem)
        for _ in range(self.iterations or (3 if identity else 10)):
            smooth = by_plane(lambda x, *_: smooth_patches(x, std, settings), x, x, x, problem)
            x = project_onto_data(problem, (yield from smooth))
        return x

    def _denoise_planes(
        self, pilot: torch.Tensor, data: torch.Tensor, noise: torch.Tensor, problem: Problem
    ) -> Generator[None, None, torch.Tensor]:
        """Estimate the patches of each time and depth separately, by nonlocal Bayes."""
        width = problem.likelihood.properties.correlation_sigma
        settings = self._patch_settings(problem)
        estimate = partial(nonlocal_bayes, correlation_sigma=width, settings=settings)
        return (yield from by_plane(estimate, pilot, data, noise, problem))

    def _patch_settings(self, problem: Problem) -> PatchSettings:
        """The patches of nonlocal Bayes."""
        size = self.patch_size or (7 if problem.scene_layout.channels == 1 else 5)
        return PatchSettings(size, self.group_size)


def _is_full(x: torch.Tensor, problem: Problem) -> bool:
    """Whether `x` is one plane under white noise, and not mostly empty."""
    if problem.scene_layout.is_stack or problem.likelihood.properties.correlation_sigma:
        return False
    _, noise = noisy_scene(problem, x)
    return source_weights(x, noise, problem.observed[0]) is None
