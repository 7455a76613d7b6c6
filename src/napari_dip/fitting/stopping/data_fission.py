"""Data fission: one part of each datum is fitted, the other validates the image."""

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
from napari_dip.physics.filters import channel_medians, masked_mean
from napari_dip.physics.problem import Problem
from napari_dip.physics.splitting import spawn_generator, split_noise

NOISY_FACTOR = 2.0  # times the median noise, beyond which pixels have a best step of their own
BRIGHT_SIGMAS = 5.0  # times the median noise from the median level, likewise


class DataFission(EarlyStopping):
    """Split the noise of each pixel in two, fit one part, and stop when the error of the other is
    lowest.

    No pixel is held out, and the fitted part has hardly more noise than the data. The statistics of the
    noise must be known, and its correlation. Stars, which are pixels with more than twice the median
    noise or far above the median level, are learned later than the sky. They are taken from the last
    step that is not significantly worse for them than the best one, and the run stops when they are
    learned.

    References
    ----------
    .. [1] Rasines, Young, "Splitting strategies for post-selection inference", Biometrika 110 (2023)
           597, doi:10.1093/biomet/asac070
    .. [2] Leiner, Duan, Wasserman, Ramdas, "Data fission: splitting a single data point", J. Am. Stat.
           Assoc. (2023), doi:10.1080/01621459.2023.2270748
    """

    kind: Literal["data-fission"] = "data-fission"
    tau: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """Strength of the noise that is added to the fitted part, relative to that of the data."""

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        training, validation = split_noise(problem, None, self.tau, spawn_generator(problem, generator))
        scorer = _FissionValidation(problem, training, validation)
        return PatienceMonitor(
            self,
            training,
            scorer.error,
            "error of the part that was not fitted",
            validation_mask=problem.observed,
            noise_probe=problem.y - validation.y,
            separate_pixels=scorer.separate_pixels(),
        )


class _FissionValidation:
    """What the part of the data that was not fitted says about the moving average."""

    def __init__(self, problem: Problem, training: Problem, validation: Problem) -> None:
        self._problem, self._training, self._validation = problem, training, validation
        # The noise that was added to both parts is no error of the image.
        self._added = validation.likelihood.nll(problem.y, validation.y)
        self._bright = _bright_pixels(problem)
        self._typical = problem.observed & ~self._bright
        self._cached: tuple[torch.Tensor, torch.Tensor] | None = None

    def error(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the mean error of the moving average (C, H, W), without bright pixels; a scalar."""
        return masked_mean(self._typical, self._errors(average))

    def separate_pixels(self) -> SeparatePixels | None:
        """Return the bright pixels, if there are any."""
        bright, problem = self._bright, self._problem
        if not bright.any():
            return None

        def misfit(average: torch.Tensor) -> torch.Tensor:
            nll = self._training.likelihood.nll(problem.predicted(average), self._training.y)
            return masked_mean(bright, nll)

        return SeparatePixels(bright[0], lambda average: self._errors(average)[0], misfit)

    def _errors(self, average: torch.Tensor) -> torch.Tensor:
        """The error of each datum, (T, C, Y, X); needed twice a step."""
        if self._cached is None or self._cached[0] is not average:
            mean = self._problem.predicted(average)
            nll = self._validation.likelihood.nll(mean, self._validation.y)
            self._cached = (average, nll - self._added)
        return self._cached[1]


def _bright_pixels(problem: Problem) -> torch.Tensor:
    """Data with much more noise than the median, or far from the median level, (T, C, Y, X) bool.

    They are a minority; there are none where a datum shows more than one place of the scene.
    """
    if not problem.operator.is_identity:
        return torch.zeros_like(problem.observed)
    smooth = problem.smoothed
    noise = problem.likelihood.random_std(smooth).expand_as(smooth)
    median_noise = channel_medians(noise, problem.observed)
    distance = (smooth - channel_medians(problem.y, problem.observed)).abs()
    bright = (distance > BRIGHT_SIGMAS * median_noise) | (noise > NOISY_FACTOR * median_noise)
    bright &= problem.observed
    return bright & (2 * bright.sum() < problem.observed.sum())
