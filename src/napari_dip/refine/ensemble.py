"""Several fits of one problem: their mean, and how far it may be from the truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine.calibration import SPREAD_SIGMA_PX, HeldOutError, RunningVariance
from napari_dip.refine.compact_sources import source_weights, unreproduced_sources, white_top_hat

if TYPE_CHECKING:
    from napari_dip.fitting.stopping import StoppingMonitor

VALIDATION_SIGMA_PX = (
    1.0  # pixels over which data are averaged to judge: there most errors stand out of the noise
)

PRIOR_RATIO_SKY, PRIOR_RATIO_SOURCES = 3.0, 11.0  # usual factors, of the simulated fields 1 to 3
MIN_FITS_FOR_SOURCES, MIN_FIT_FRACTION = (
    3,
    0.8,
)  # fits that can tell, and which part of them has to show a source


class Ensemble(Settings):
    """Several fits, each with its own network, code and split of the data."""

    size: Annotated[int, Field(ge=1, le=100)] = 1
    """How many fits; the result is their mean, and with two or more it has an uncertainty. The time
    grows in proportion."""

    def seeds(self, first: int) -> list[int]:
        """One for each member: the `first`, and others that belong to it alone."""
        others = np.random.default_rng(first).integers(2**31, size=self.size - 1)
        return [first, *others.tolist()]


class EnsembleStatistics:
    """The fits to one problem so far, and what is known of their errors."""

    def __init__(self, problem: Problem) -> None:
        self.num_fits = 0
        self._problem = problem
        # Data of 1e-20 squared would vanish in float32; a power of two changes no digit of them.
        self._unit = 2.0 ** math.frexp(float(problem.scene_noise_std.max()))[1]
        self._scene = RunningVariance()
        self._top_hats: list[torch.Tensor] = []
        self.averaged, self.plain = (
            HeldOutError(problem, VALIDATION_SIGMA_PX),
            HeldOutError(problem, 0.0),
        )

    def add(self, x: torch.Tensor, watch: StoppingMonitor) -> None:
        """One more scene `x` (C, H, W), and the rule that stopped its fit."""
        self.num_fits += 1
        self._scene.add(x / self._unit)
        if self._problem.operator.is_identity:
            self._top_hats.append((white_top_hat(x) / self._unit).half().cpu())
        if watch.validation_mask is None:
            return
        predicted = self._problem.predicted(x)
        if self.num_fits == 1:
            self._noise = self._problem.noise_std(x)
        self.plain.add(predicted, self._noise, watch.validation_mask, watch.noise_probe)
        if (
            watch.noise_probe is not None
        ):  # single pixels that were held out have nothing to be averaged with
            self.averaged.add(predicted, self._noise, watch.validation_mask, watch.noise_probe)

    @property
    def mean(self) -> torch.Tensor:
        """The mean scene, (C, H, W)."""
        return self._scene.mean * self._unit

    def mean_with(self, x: torch.Tensor) -> torch.Tensor:
        """The mean scene, (C, H, W), were `x` one of the members."""
        return (x + self.num_fits * self.mean) / (self.num_fits + 1)

    def unreproduced_sources(self) -> list[tuple[int, int]]:
        """Places of small sources in the mean that are not in most of the members; of three at least."""
        if self.num_fits < MIN_FITS_FOR_SOURCES or not self._top_hats:
            return []
        places = unreproduced_sources(*self._sources_input(), self._top_hats, MIN_FIT_FRACTION)
        return [(int(y), int(x)) for y, x in places]

    def uncertainty(self) -> tuple[torch.Tensor, float | None]:
        """One standard deviation of the mean scene's error, (C, H, W), and how many spreads that is.

        The members disagree where the data leave them free, but not by as much as they are wrong:
        they share the data and their noise. So their variance is multiplied by the number that makes
        it right for the data that were not fitted; None where there are none. If the data show more
        error than that, pixel by pixel, beyond chance and beyond what is not known of the noise, it is
        in what no member has, like the grain of a photograph, and the same part of the noise
        everywhere.

        In an image that is empty but for small sources there is no grain. Its sky and its sources have
        a number each, drawn half the way to what it usually is: a sky's errors are so small that few
        data tell them from noise.
        """
        variance = gaussian_blur(self._scene.variance, SPREAD_SIGMA_PX)
        evidence = self.averaged if self.averaged.num_fits else self.plain
        if not evidence.num_fits:
            return variance.sqrt() * self._unit, None
        copies = self._problem.operator.is_identity
        near = source_weights(*self._sources_input()) if copies else None
        if near is not None:
            sky, sources = (
                math.sqrt(usual * evidence.variance_ratio(part))
                for usual, part in ((PRIOR_RATIO_SKY, 1 - near), (PRIOR_RATIO_SOURCES, near))
            )
            calibrated = (sky + near * (sources - sky)) * variance
        else:
            factor = evidence.variance_ratio()
            calibrated = factor * variance
            if self.averaged.num_fits and copies:
                calibrated = calibrated + self.plain.excess(factor) * (self._noise[0] / self._unit) ** 2
        ratio = float((calibrated.mean() / variance.mean().clamp(min=1e-30)).sqrt())
        return calibrated.sqrt() * self._unit, ratio

    def _sources_input(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean, its pixels' noise, and which are observed; (C, H, W), in a unit of their own."""
        noise = self._problem.noise_std(self.mean)[0]
        return self.mean / self._unit, noise / self._unit, self._problem.observed[0]
