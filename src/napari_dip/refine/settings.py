"""What is done after the fit, and when."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping import StoppingMonitor
from napari_dip.physics.problem import Problem
from napari_dip.refine.patches import nonlocal_bayes
from napari_dip.refine.residual_return import add_residual, add_source_flux

Method = Literal["patches", "spectrum", "residual", "none"]

# Noise of a picture that agrees with the data, by what it has beyond a linear one: where pixels are
# missing, and where all are finer than the data's.
INPAINT_NOISE_FACTOR, UPSAMPLE_NOISE_FACTOR = 1.5, 2.5


# Shares of a step that are worth taking, where it is small and where it is large beside the noise,
# and how far they are from it in one image or another (photographs and star fields).
LARGE_STEP_SIGMAS = 0.5  # noise sigmas
PRIOR_STEP_WEIGHTS, STEP_WEIGHT_STD = (0.8, 0.9), 0.25


class Refinement(Settings):
    """A second look at the data, with the picture that was fitted to tell what to look for.

    The picture lacks noise, so it tells well which patches are alike and how they vary; the data have
    what it has not learnt. Where a blur lies between, the data tell at which frequencies the
    picture is noise.
    """

    patch_method: Literal["auto", "nonlocal-bayes", "none"] = "auto"
    """Estimate patches that are alike together (nonlocal Bayes). Automatic: where the data show the
    scene as it is, under noise that is as its model says and the same everywhere, one time and depth
    at a time, or where the result has to agree with them; never behind a blur."""
    iterations: Annotated[int, Field(ge=1, le=5)] | None = None
    """How often, each time with the picture of the time before; automatic: 2, and where the result has
    to agree with the data 3, or 5 on a finer grid."""
    patch_size: Annotated[int, Field(ge=2, le=12)] | None = None
    """Side of a patch; automatic: 7 where there is one channel, 5 where there are more. [pixel]"""
    group_size: Annotated[int, Field(ge=8, le=100)] = 30
    """Patches in a group."""
    spectral_shrinkage: Literal["auto", "off"] = "auto"
    """Take out the frequencies that are noise. Automatic: behind a blur, where the run stopped by
    noise fission."""
    residual_correction: Literal["auto", "off"] = "auto"
    """Return to each plane what neighbouring residuals have in common, beyond noise. Automatic: where
    planes are restored together, under independent noise that is as its model says."""

    source_flux_correction: Literal["auto", "off"] = "auto"
    """Return to small bright sources what the fit has not taken of their light, so that fluxes are not
    too low; with it comes some of the data's noise. Automatic: where alike patches are estimated
    together and most of the image is empty."""

    def select_method(
        self, problem: Problem, watch: StoppingMonitor, *, hard_data_consistency: bool
    ) -> Method:
        """What is done to a picture that was fitted to `problem` under `watch`."""
        copies, likelihood = problem.operator.is_identity, problem.likelihood
        if hard_data_consistency:
            whole = copies and bool(problem.observed.all())
            return "none" if whole or self.patch_method == "none" else "patches"
        if not copies:
            return (
                "spectrum"
                if self.spectral_shrinkage == "auto" and watch.noise_probe is not None
                else "none"
            )
        alone = problem.scene_layout.times == problem.scene_layout.depths == 1
        known = self.patch_method == "auto" and likelihood.can_be_sampled and alone
        if known or self.patch_method == "nonlocal-bayes":
            return "patches"
        together = self.residual_correction == "auto" and likelihood.kind == "white" and not alone
        return "residual" if together else "none"

    def refine(
        self,
        x: torch.Tensor,
        problem: Problem,
        watch: StoppingMonitor,
        *,
        hard_data_consistency: bool,
        alone: bool,
    ) -> Generator[None, None, torch.Tensor]:
        """The scene `x` (C, H, W), which was fitted under `watch`, after a second look.

        A generator, for it takes its time: it yields between two steps of the work.

        Parameters
        ----------
        x : (C, H, W) tensor
            The picture.
        problem : Problem
            All of the data.
        watch : Watch
            What knows how much of the noise is in `x`.
        hard_data_consistency : bool
            Whether the result has to agree with the data.
        alone : bool
            Whether this is the only fit. Among several only what was fitted is looked at, and the
            rest goes on to judge; of one the result is not judged, and it may see all of the data.
        """
        look = self.select_method(problem, watch, hard_data_consistency=hard_data_consistency)
        if look == "spectrum" and watch.noise_probe is not None:
            from napari_dip.refine.spectral_shrinkage import shrink_spectrum  # and scipy

            return shrink_spectrum(x, problem, watch.noise_probe)
        if look == "residual":
            return add_residual(x, problem if alone else watch.fit_problem)
        if look == "none":
            return x
        if hard_data_consistency:
            return (yield from self._denoise_consistent(x, watch.fit_problem))
        found = yield from self._denoise_data(x, watch.fit_problem)
        if watch.noise_probe is None:
            return found
        noise = _noise_map(problem, x)
        shares = _step_weights((found - x) / noise, x, problem, watch.noise_probe)
        if alone:
            found = yield from self._denoise_data(x, problem)
        parts = _split_step((found - x) / noise)
        return x + noise * (shares[:, None, None, None] * parts).sum(dim=0)

    def correct_source_flux(
        self,
        x: torch.Tensor,
        problem: Problem,
        watch: StoppingMonitor,
        *,
        hard_data_consistency: bool,
        alone: bool,
    ) -> torch.Tensor | None:
        """The `refined` scene with its sources' light, for the same arguments; None without any."""
        look = self.select_method(problem, watch, hard_data_consistency=hard_data_consistency)
        if self.source_flux_correction == "off" or hard_data_consistency or look != "patches":
            return None
        return add_source_flux(x, problem if alone else watch.fit_problem)

    def _denoise_data(self, x: torch.Tensor, data: Problem) -> Generator[None, None, torch.Tensor]:
        """Alike patches of the data, with `x` to tell which they are."""
        for _ in range(self.iterations or 2):
            seen, noise = data.noisy_scene(x)
            x = yield from self._denoise_planes(x, seen, noise, data)
        return x

    def _denoise_consistent(self, x: torch.Tensor, data: Problem) -> Generator[None, None, torch.Tensor]:
        """Alike patches of `x` where the data tell nothing, which is taken to have noise there."""
        copies = data.operator.is_identity
        x = data.project_onto_data(x)
        made_up = torch.full_like(
            x, (INPAINT_NOISE_FACTOR if copies else UPSAMPLE_NOISE_FACTOR) * data.rms_beyond_wiener(x)
        )
        for _ in range(self.iterations or (3 if copies else 5)):
            x = yield from self._denoise_planes(x, x, made_up, data)
            x = data.project_onto_data(x)
        return x

    def _denoise_planes(
        self, pilot: torch.Tensor, seen: torch.Tensor, noise: torch.Tensor, data: Problem
    ) -> Generator[None, None, torch.Tensor]:
        """Each time and depth of its own."""
        planes, found = data.scene_layout, torch.empty_like(pilot)
        width = 0.0 if seen is pilot else data.likelihood.correlation_sigma
        side = self.patch_size or (7 if planes.channels == 1 else 5)
        numbers = torch.arange(planes.num_planes).reshape(planes.shape).transpose(1, 2)
        for one in numbers.flatten(0, 1):
            parts = pilot[one], seen[one], noise[one]
            found[one] = yield from nonlocal_bayes(*parts, width, side=side, alike=self.group_size)
        return found


def _noise_map(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """The noise of each pixel of the scene `x`, (C, H, W), and the usual one where nothing tells it."""
    noise = problem.noise_std(x)[0]
    return torch.where(noise > 0, noise, noise[problem.observed[0]].median())


def _split_step(step: torch.Tensor) -> torch.Tensor:
    """The parts of a step (C, H, W), in units of the noise, that are small and large; (2, C, H, W)."""
    small = torch.exp(-0.5 * (step / LARGE_STEP_SIGMAS) ** 2)
    return torch.stack((small * step, (1 - small) * step))


def _step_weights(
    step: torch.Tensor, x: torch.Tensor, problem: Problem, probe: torch.Tensor
) -> torch.Tensor:
    """How much of the small and of the large part of a `step` from `x` lessens the error; (2,), 0 to 1.

    Where a step is large beside the noise, the fit has missed something; where it is small, it takes
    noise away or brings it. The half of the data that was not fitted tells; it has much noise, so
    the shares are drawn to what they usually are.

    References
    ----------
    .. [1] Luisier, Blu, Unser, "A new SURE approach to image denoising: interscale orthonormal wavelet
           thresholding", IEEE Trans. Image Process. 16 (2007) 593, eq. (10), (15); here the covariance
           with the noise is measured by the probe.
    """
    known, noise = problem.observed[0], _noise_map(problem, x)
    parts = _split_step(step)[:, known]
    probe = (probe[0] / noise)[known]
    left = ((problem.y[0] - x) / noise)[known] - probe
    # Noise that neighbours share is as uncertain as that of fewer pixels.
    variance = (1 + probe.square().mean()) * max(
        1.0, 4 * math.pi * problem.likelihood.correlation_sigma**2
    )
    shares: torch.Tensor = torch.linalg.solve(
        parts @ parts.T / variance + torch.eye(2, device=step.device) / STEP_WEIGHT_STD**2,
        parts @ left / variance + step.new_tensor(PRIOR_STEP_WEIGHTS) / STEP_WEIGHT_STD**2,
    )
    return shares.clamp(0, 1)
