"""Noise fission: one half of every datum is fitted, the other half judges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.problem import Problem, mean_over
from napari_dip.stopping.base import Apart, Patient, PatientWatch, Watch
from napari_dip.torch_import import torch

NOISY = 2.0  # times the usual noise, beyond which pixels have a best step of their own
BRIGHT = 5.0  # times the usual noise from the usual level, likewise


class Fission(Patient):
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

    kind: Literal["fission"] = "fission"
    strength: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """Noise added to the half that is fitted, in proportion to the data's own."""

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        fitted, judge = problem.split(None, self.strength, problem.generator(generator))
        halves = _Halves(problem, fitted, judge)
        half = "error of the half that was not fitted"
        probe = problem.y - judge.y
        watch = PatientWatch(self, fitted, halves.error, half, problem.observed, probe)
        watch.apart = halves.apart if halves.has_stars else None
        return watch


class _Halves:
    """Two halves of the data: what the one that was not fitted says of the running average."""

    def __init__(self, problem: Problem, fitted: Problem, judge: Problem) -> None:
        self._problem, self._fitted, self._judge = problem, fitted, judge
        # The noise that was added to both is no error of the image.
        self._added = judge.likelihood.nll(problem.y, judge.y)
        smooth = problem.smoothed
        usual = self._usual(problem.likelihood.random(smooth).expand_as(smooth))
        bright = (smooth - self._usual(problem.y)).abs() > BRIGHT * usual
        few = 2 * (problem.observed & bright).sum() < problem.observed.sum()
        self._bright = bright & few  # what most pixels are is usual
        self._seen: tuple[torch.Tensor, ...] = ()
        self.has_stars = problem.operator.copies and bool(self._stars(problem.y).any())

    def error(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The mean error of the running average (C, H, W), without the stars; a scalar."""
        _, _, stars, errors = self._look(average)
        usual = self._problem.observed & ~stars if self.has_stars else self._problem.observed
        return mean_over(usual, errors)

    def apart(self, average: torch.Tensor) -> Apart:
        """The stars."""
        _, mean, stars, errors = self._look(average)
        misfit = mean_over(stars, self._fitted.likelihood.nll(mean, self._fitted.y))
        return Apart(stars[0], errors[0], misfit)

    def _look(self, average: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The average, the data that it predicts, the stars, and the errors: asked twice a step."""
        if not self._seen or self._seen[0] is not average:
            mean = self._problem.predicted(average)
            stars = self._stars(mean) if self.has_stars else self._bright
            errors = self._judge.likelihood.nll(mean, self._judge.y) - self._added
            self._seen = (average, mean, stars, errors)
        return self._seen

    def _stars(self, mean: torch.Tensor) -> torch.Tensor:
        noise = self._problem.likelihood.random(mean).expand_as(mean)
        return self._problem.observed & (self._bright | (noise > NOISY * self._usual(noise)))

    def _usual(self, values: torch.Tensor) -> torch.Tensor:
        """The median of each channel's observed `values` (T, C, Y, X), as (C, 1, 1)."""
        known = torch.where(self._problem.observed, values, torch.nan)
        return known.movedim(1, 0).flatten(1).nanmedian(dim=1).values[:, None, None]
