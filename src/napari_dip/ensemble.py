"""Several fits of one problem: their mean, and how far it may be from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from napari_dip.problem import Problem
from napari_dip.settings import Settings
from napari_dip.torch_import import torch

if TYPE_CHECKING:
    from napari_dip.stopping import Watch

SMOOTHING = 2.0  # pixels over which the spread of a few members is averaged: alone it is too uncertain


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
        self._scene, self._data = _Spread(), _Spread()
        # Sums over the members, (T, C, Y, X): how often a datum judged, its squared residuals then,
        # and the probes alone and times the predicted data.
        self._judged, self._squares, self._probes, self._answers = torch.zeros(
            (4, *problem.y.shape), device=problem.y.device
        )

    def add(self, x: torch.Tensor, watch: Watch) -> None:
        """One more scene `x` (C, H, W), and the rule that stopped its fit."""
        predicted = self._problem.predicted(x)
        self.number += 1
        self._scene.add(x)
        self._data.add(predicted)
        if watch.judged is not None:
            self._judged += watch.judged
            self._squares += watch.judged * (self._problem.y - predicted) ** 2
        if watch.probe is not None:
            self._probes += watch.probe
            self._answers += watch.probe * predicted

    @property
    def mean(self) -> torch.Tensor:
        """The mean scene, (C, H, W)."""
        return self._scene.mean

    def mean_with(self, x: torch.Tensor) -> torch.Tensor:
        """The mean scene, (C, H, W), were `x` one of the members."""
        return (x + self.number * self.mean.to(x)) / (self.number + 1)

    def uncertainty(self) -> tuple[torch.Tensor, float | None]:
        """One standard deviation of the mean scene's error, (C, H, W), and by what it was calibrated.

        The members disagree where the data leave them free, but not by as much as they are wrong:
        they share the data and their noise. So their spread is multiplied by the number that makes
        it right for the data that were not fitted; None where there are none.
        """
        spread = _smoothed(self._scene.variance)
        known = self._judged > 0
        if not known.any():
            return spread.sqrt(), None
        noise = self._problem.noise_variance(self.mean)
        error = (self._squared_error() / noise)[known]
        foretold = (_smoothed(self._data.variance) / noise)[known]
        factor = float((error * foretold).sum() / (foretold**2).sum())
        factor = max(factor, 1.0) ** 0.5
        return factor * spread.sqrt(), factor

    def _squared_error(self) -> torch.Tensor:
        """An unbiased estimate of the squared error of the mean's predicted data, (T, C, Y, X).

        That of the members, (y - A x)^2 - sigma^2 + 2 cov(A x, noise), less their variance about the
        mean. The covariance is measured with the probes, and about the mean of the other members,
        which know nothing of a member's own probe.

        References
        ----------
        .. [1] Efron, "The estimation of prediction error: covariance penalties and
               cross-validation", J. Am. Stat. Assoc. 99 (2004) 619, eq. (2.8).
        """
        squares = self._squares / self._judged - self._problem.noise_variance(self.mean)
        others = max(self.number - 1, 1)
        covariance = (self._answers - self._data.mean * self._probes) / others
        error: torch.Tensor = squares + 2 * covariance - _smoothed(self._data.variance)
        return error


class _Spread:
    """Mean and variance of some arrays of one shape, without keeping them.

    References
    ----------
    .. [1] Welford, "Note on a method for calculating corrected sums of squares and products",
           Technometrics 4 (1962) 419.
    """

    def __init__(self) -> None:
        self._number = 0
        self.mean = self._squares = torch.zeros(())

    def add(self, array: torch.Tensor) -> None:
        self._number += 1
        before = array - self.mean.to(array)
        self.mean = self.mean.to(array) + before / self._number
        self._squares = self._squares.to(array) + before * (array - self.mean)

    @property
    def variance(self) -> torch.Tensor:
        """The mean square about the mean."""
        return self._squares / self._number


def _smoothed(planes: torch.Tensor) -> torch.Tensor:
    """Planes (..., Y, X) averaged over some pixels."""
    half = round(3 * SMOOTHING)
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=planes.device) / SMOOTHING) ** 2)
    line /= line.sum()
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    flat = torch.nn.functional.pad(flat, 4 * (half,), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, line[None, None, :, None])
    flat = torch.nn.functional.conv2d(flat, line[None, None, None, :])
    return flat.reshape(planes.shape)
