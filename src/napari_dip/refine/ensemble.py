"""Several fits of one problem: their mean, and how far it may be from the truth."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping import StoppingMonitor
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine.calibration import SPREAD_SIGMA_PX, HeldOutError, RunningVariance
from napari_dip.refine.compact_sources import source_weights, unreproduced_sources, white_top_hat

VALIDATION_SIGMA_PX = 1.0  # over which data are averaged to validate: there most errors exceed the noise
TYPICAL_RATIO_SKY, TYPICAL_RATIO_SOURCES = 7.5, 7.0  # of the simulated fields 1 and 2
TYPICAL_RATIO_SCATTER = 0.5  # relative
MIN_FITS_FOR_SOURCES = 3  # below which nothing is said about single sources
MIN_FIT_FRACTION = 0.8  # of the fits that have to show a source


class Ensemble(Settings):
    """Several fits, each with its own network, network input and split of the data."""

    size: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of fits; the result is their mean, and with two or more it has an uncertainty. The time
    grows in proportion."""

    def seeds(self, first: int) -> list[int]:
        """Return a seed for each fit: the `first`, and others that depend on it alone."""
        others = np.random.default_rng(first).integers(2**31, size=self.size - 1)
        return [first, *others.tolist()]


class EnsembleStatistics:
    """The fits of one problem so far, and what is known about their errors."""

    def __init__(self, problem: Problem) -> None:
        self.num_fits = 0
        self._problem = problem
        # Data of 1e-20 squared would vanish in float32; a power of two changes no digit of them.
        self._unit = 2.0 ** math.frexp(float(problem.scene_noise_std.max()))[1]
        self._scene = RunningVariance()
        self._top_hats: list[torch.Tensor] = []
        self.averaged = HeldOutError(problem, VALIDATION_SIGMA_PX)
        self.plain = HeldOutError(problem, 0.0)

    def add(self, x: torch.Tensor, monitor: StoppingMonitor | None = None) -> None:
        """Add a scene `x` (C, H, W), and the monitor of its fit, if that held data back."""
        self.num_fits += 1
        self._scene.add(x / self._unit)
        if self._problem.operator.is_identity:
            self._top_hats.append((white_top_hat(x) / self._unit).half().cpu())
        if monitor is None or monitor.validation_mask is None:
            return
        predicted = self._problem.predicted(x)
        if self.num_fits == 1:
            self._noise = self._problem.noise_std(x)
        data = predicted, self._noise, monitor.validation_mask, monitor.noise_probe
        self.plain.add(*data)
        if monitor.noise_probe is not None:  # single held-out pixels have no neighbors to average with
            self.averaged.add(*data)

    @property
    def mean(self) -> torch.Tensor:
        """The mean scene, (C, H, W)."""
        return self._scene.mean * self._unit

    def mean_with(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean scene, (C, H, W), with `x` as one more fit."""
        return (x + self.num_fits * self.mean) / (self.num_fits + 1)

    def unreproduced_sources(self) -> list[tuple[int, int]]:
        """Return the places of small sources of the mean that most of the fits lack."""
        if self.num_fits < MIN_FITS_FOR_SOURCES or not self._top_hats:
            return []
        places = unreproduced_sources(*self._sources_input(), self._top_hats, MIN_FIT_FRACTION)
        return [(int(y), int(x)) for y, x in places]

    def uncertainty(self) -> tuple[torch.Tensor, float | None]:
        """Return the standard deviation of the error of the mean, and its ratio to the spread.

        Returns
        -------
        std : (C, H, W) tensor
            In data units.
        ratio : float or None
            None if no data were held out, so that the spread is not calibrated.

        Notes
        -----
        The fits differ where the data leave them free, but by less than their error: they share the data
        and their noise. So their variance is multiplied by the factor that makes it right for data that
        were not fitted. If these show more error than that, pixel by pixel, significantly and beyond the
        uncertainty of the noise itself, it is in what no fit has, such as the texture of a photograph,
        and is the same fraction of the noise everywhere.

        An image that is empty except for small sources has no texture. Its sky and its sources have a
        factor each, which is a typical one unless the data are sure of another: the errors of a sky are
        so small that hardly any data tell them from noise.
        """
        variance = gaussian_blur(self._scene.variance, SPREAD_SIGMA_PX)
        held_out = self.averaged if self.averaged.num_fits else self.plain
        if not held_out.num_fits:
            return variance.sqrt() * self._unit, None
        identity = self._problem.operator.is_identity
        weights = source_weights(*self._sources_input()) if identity else None
        if weights is not None:
            sky, sources = (
                _typical_unless_sure(typical, *held_out.variance_ratio(part))
                for typical, part in (
                    (TYPICAL_RATIO_SKY, 1 - weights),
                    (TYPICAL_RATIO_SOURCES, weights),
                )
            )
            calibrated = (sky + weights * (sources - sky)) * variance
        else:
            factor = max(held_out.variance_ratio()[0], 1.0)
            calibrated = factor * variance
            if self.averaged.num_fits and identity:
                excess = self.plain.excess(factor)
                calibrated = calibrated + excess * (self._noise[0] / self._unit) ** 2
        ratio = float((calibrated.mean() / variance.mean().clamp(min=1e-30)).sqrt())
        return calibrated.sqrt() * self._unit, ratio

    def _sources_input(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean, the noise of its pixels, and which are observed; (C, H, W), in units of their
        own.
        """
        noise = self._problem.noise_std(self.mean)[0]
        return self.mean / self._unit, noise / self._unit, self._problem.observed[0]


def _typical_unless_sure(typical: float, measured: float, error: float) -> float:
    """A ratio that was measured with an error, drawn to a typical one: at least 1."""
    variance = (TYPICAL_RATIO_SCATTER * typical) ** 2
    return max(typical + variance / (variance + error**2) * (measured - typical), 1.0)
