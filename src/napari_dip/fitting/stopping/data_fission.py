"""Noise fission: one half of every datum is fitted, the other half judges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import Apart, Patient, PatientWatch, Watch
from napari_dip.physics.filters import mean_over
from napari_dip.physics.problem import Problem

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
        watch.apart = halves.apart()
        return watch


class _Halves:
    """Two halves of the data: what the one that was not fitted says of the running average."""

    def __init__(self, problem: Problem, fitted: Problem, judge: Problem) -> None:
        self._problem, self._fitted, self._judge = problem, fitted, judge
        # The noise that was added to both is no error of the image.
        self._added = judge.likelihood.nll(problem.y, judge.y)
        self._stars = _stars(problem)
        self._usual = problem.observed & ~self._stars
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None

    def error(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The mean error of the running average (C, H, W), without the stars; a scalar."""
        return mean_over(self._usual, self._errors(average))

    def apart(self) -> Apart | None:
        """The stars, if there are any."""
        stars, problem = self._stars, self._problem
        if not stars.any():
            return None

        def misfit(average: torch.Tensor) -> torch.Tensor:
            return mean_over(
                stars, self._fitted.likelihood.nll(problem.predicted(average), self._fitted.y)
            )

        return Apart(stars[0], lambda average: self._errors(average)[0], misfit)

    def _errors(self, average: torch.Tensor) -> torch.Tensor:
        """The error of each datum, (T, C, Y, X); asked for twice a step."""
        if self._seen is None or self._seen[0] is not average:
            mean = self._problem.predicted(average)
            self._seen = (average, self._judge.likelihood.nll(mean, self._judge.y) - self._added)
        return self._seen[1]


def _stars(problem: Problem) -> torch.Tensor:
    """The data with more noise than usual, or far from the usual level, (T, C, Y, X); a minority.

    None where a datum shows more than one place of the scene.
    """
    if not problem.operator.copies:
        return torch.zeros_like(problem.observed)
    smooth = problem.smoothed
    noise = problem.likelihood.random(smooth).expand_as(smooth)
    usual = _usual(noise, problem.observed)
    far = (smooth - _usual(problem.y, problem.observed)).abs() > BRIGHT * usual
    stars = problem.observed & (far | (noise > NOISY * usual))
    return stars & (2 * stars.sum() < problem.observed.sum())  # what most pixels are is usual


def _usual(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """The median of each channel's observed `values` (T, C, Y, X), as (C, 1, 1)."""
    known = torch.where(observed, values, torch.nan)
    return known.movedim(1, 0).flatten(1).nanmedian(dim=1).values[:, None, None]
