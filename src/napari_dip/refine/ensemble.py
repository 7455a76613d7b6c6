"""Several fits of one problem: their mean, and how far it may be from the truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import blurred
from napari_dip.physics.problem import Problem
from napari_dip.refine.calibration import SMOOTHING, Evidence, _Spread
from napari_dip.refine.compact_sources import doubtful, heights, near_sources

if TYPE_CHECKING:
    from napari_dip.fitting.stopping import Watch

JUDGING = 1.0  # pixels over which data are averaged to judge: there most errors stand out of the noise

SKY, SOURCES = 3.0, 11.0  # usual factors, of the simulated fields 1 to 3
ENOUGH, MOST = 3, 0.8  # fits that can tell, and which part of them has to show a source


class Ensemble(Settings):
    """Several fits, each with its own network, code and split of the data."""

    members: Annotated[int, Field(ge=1, le=100)] = 1
    """How many fits; the result is their mean, and with two or more it has an uncertainty. The time
    grows in proportion."""

    def seeds(self, first: int) -> list[int]:
        """One for each member: the `first`, and others that belong to it alone."""
        others = np.random.default_rng(first).integers(2**31, size=self.members - 1)
        return [first, *others.tolist()]


class Members:
    """The fits to one problem so far, and what is known of their errors."""

    def __init__(self, problem: Problem) -> None:
        self.number = 0
        self._problem = problem
        # Data of 1e-20 squared would vanish in float32; a power of two changes no digit of them.
        self._unit = 2.0 ** math.frexp(float(problem.noise_in_scene.max()))[1]
        self._scene = _Spread()
        self._heights: list[torch.Tensor] = []
        self.averaged, self.plain = Evidence(problem, JUDGING), Evidence(problem, 0.0)

    def add(self, x: torch.Tensor, watch: Watch) -> None:
        """One more scene `x` (C, H, W), and the rule that stopped its fit."""
        self.number += 1
        self._scene.add(x / self._unit)
        if self._problem.operator.copies:
            self._heights.append((heights(x) / self._unit).half().cpu())
        if watch.judged is None:
            return
        predicted = self._problem.predicted(x)
        if self.number == 1:
            self._noise = self._problem.noise(x)
        self.plain.add(predicted, self._noise, watch.judged, watch.probe)
        if watch.probe is not None:  # single pixels that were held out have nothing to be averaged with
            self.averaged.add(predicted, self._noise, watch.judged, watch.probe)

    @property
    def mean(self) -> torch.Tensor:
        """The mean scene, (C, H, W)."""
        return self._scene.mean * self._unit

    def mean_with(self, x: torch.Tensor) -> torch.Tensor:
        """The mean scene, (C, H, W), were `x` one of the members."""
        return (x + self.number * self.mean) / (self.number + 1)

    def doubtful(self) -> list[tuple[int, int]]:
        """Places of small sources in the mean that are not in most of the members; of three at least."""
        if self.number < ENOUGH or not self._heights:
            return []
        places = doubtful(*self._seen(), self._heights, MOST)
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
        variance = blurred(self._scene.variance, SMOOTHING)
        evidence = self.averaged if self.averaged.number else self.plain
        if not evidence.number:
            return variance.sqrt() * self._unit, None
        copies = self._problem.operator.copies
        near = near_sources(*self._seen()) if copies else None
        if near is not None:
            sky, sources = (
                math.sqrt(usual * evidence.factor(part))
                for usual, part in ((SKY, 1 - near), (SOURCES, near))
            )
            calibrated = (sky + near * (sources - sky)) * variance
        else:
            factor = evidence.factor()
            calibrated = factor * variance
            if self.averaged.number and copies:
                calibrated = calibrated + self.plain.rest(factor) * (self._noise[0] / self._unit) ** 2
        ratio = float((calibrated.mean() / variance.mean().clamp(min=1e-30)).sqrt())
        return calibrated.sqrt() * self._unit, ratio

    def _seen(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean, its pixels' noise, and which are observed; (C, H, W), in a unit of their own."""
        noise = self._problem.noise(self.mean)[0]
        return self.mean / self._unit, noise / self._unit, self._problem.observed[0]
