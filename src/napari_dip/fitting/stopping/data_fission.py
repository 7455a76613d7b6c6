"""Noise fission: one half of every datum is fitted, the other half judges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import (
    EarlyStopping,
    PatienceMonitor,
    SeparatePixels,
    StoppingMonitor,
)
from napari_dip.physics.filters import masked_mean
from napari_dip.physics.problem import Problem

NOISY_FACTOR = 2.0  # times the usual noise, beyond which pixels have a best step of their own
BRIGHT_SIGMAS = 5.0  # times the usual noise from the usual level, likewise


class DataFission(EarlyStopping):
    """Split the noise of every pixel in two, fit the one half and stop when the other's error is least.

    No pixel is left out, and the half that is fitted has hardly more noise than the data. The noise
    has to be known, and how much of it neighbouring pixels share. Stars, pixels with more than twice the
    usual noise or far above it, are learnt later than the sky. They are taken from the last step that
    is not worse for them, beyond chance, than their best one; the run ends when they are learnt.

    References
    ----------
    .. [1] Rasines, Young, "Splitting strategies for post-selection inference", Biometrika 110 (2023)
           597, doi:10.1093/biomet/asac070
    """

    kind: Literal["data-fission"] = "data-fission"
    tau: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """Noise added to the half that is fitted, in proportion to the data's own."""

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        fitted, judge = problem.split(None, self.tau, problem.generator(generator))
        halves = _FissionValidation(problem, fitted, judge)
        half = "error of the half that was not fitted"
        probe = problem.y - judge.y
        watch = PatienceMonitor(self, fitted, halves.error, half, problem.observed, probe)
        watch.separate_pixels = halves.separate_pixels()
        return watch


class _FissionValidation:
    """Two halves of the data: what the one that was not fitted says of the running average."""

    def __init__(self, problem: Problem, fitted: Problem, judge: Problem) -> None:
        self._problem, self._fitted, self._validation = problem, fitted, judge
        # The noise that was added to both is no error of the image.
        self._added = judge.likelihood.nll(problem.y, judge.y)
        self._bright = _bright_pixels(problem)
        self._typical = problem.observed & ~self._bright
        self._cached: tuple[torch.Tensor, torch.Tensor] | None = None

    def error(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The mean error of the running average (C, H, W), without the stars; a scalar."""
        return masked_mean(self._typical, self._errors(average))

    def separate_pixels(self) -> SeparatePixels | None:
        """The stars, if there are any."""
        stars, problem = self._bright, self._problem
        if not stars.any():
            return None

        def misfit(average: torch.Tensor) -> torch.Tensor:
            return masked_mean(
                stars, self._fitted.likelihood.nll(problem.predicted(average), self._fitted.y)
            )

        return SeparatePixels(stars[0], lambda average: self._errors(average)[0], misfit)

    def _errors(self, average: torch.Tensor) -> torch.Tensor:
        """The error of each datum, (T, C, Y, X); asked for twice a step."""
        if self._cached is None or self._cached[0] is not average:
            mean = self._problem.predicted(average)
            self._cached = (
                average,
                self._validation.likelihood.nll(mean, self._validation.y) - self._added,
            )
        return self._cached[1]


def _bright_pixels(problem: Problem) -> torch.Tensor:
    """The data with more noise than usual, or far from the usual level, (T, C, Y, X); a minority.

    None where a datum shows more than one place of the scene.
    """
    if not problem.operator.is_identity:
        return torch.zeros_like(problem.observed)
    smooth = problem.smoothed
    noise = problem.likelihood.random_std(smooth).expand_as(smooth)
    usual = _channel_medians(noise, problem.observed)
    far = (smooth - _channel_medians(problem.y, problem.observed)).abs() > BRIGHT_SIGMAS * usual
    stars = problem.observed & (far | (noise > NOISY_FACTOR * usual))
    return stars & (2 * stars.sum() < problem.observed.sum())  # what most pixels are is usual


def _channel_medians(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """The median of each channel's observed `values` (T, C, Y, X), as (C, 1, 1)."""
    known = torch.where(observed, values, torch.nan)
    return known.movedim(1, 0).flatten(1).nanmedian(dim=1).values[:, None, None]
