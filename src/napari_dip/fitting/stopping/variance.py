"""The variance of the images along the way: least where the scene is learnt and no noise yet."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping, PatienceMonitor, StoppingMonitor
from napari_dip.physics.problem import Problem

MAX_COMPARED_PIXELS = 2**13  # of the images of a window, that are compared


class VarianceStopping(EarlyStopping):
    """Stop when the images of many steps differ least: the scene is learnt, and no noise yet.

    It knows nothing of the noise, and needs no pixel of its own: for noise that neighbours share in
    ways that nobody knows.

    References
    ----------
    .. [1] Wang, Li, Zhuang, Chen, Liang, Sun, "Early stopping for deep image prior", TMLR 2023; both
           its windowed and its exponential variance.
    """

    kind: Literal["variance"] = "variance"
    window_length: Annotated[int, Field(ge=10, le=1000)] = 250
    """Steps that are compared. [step]"""
    method: Literal["wmv", "emv"] = "wmv"
    """All steps of the window alike, or the more the later."""

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        values, observed = problem.scaled_data()
        start = values[observed].var()  # before anything is learnt
        if self.method == "emv":
            return PatienceMonitor(
                self, problem, _ExponentialVariance(self.window_length, start), "variance of the images"
            )
        some = torch.randint(
            math.prod(problem.operator.scene_shape), (MAX_COMPARED_PIXELS,), generator=generator
        )
        spread = _WindowedVariance(self.window_length, start, some.to(problem.y.device))
        return PatienceMonitor(self, problem, spread, "variance of the images")


class _WindowedVariance:
    """The variance of the last images, at some of their pixels."""

    def __init__(self, length: int, start: torch.Tensor, pixels: torch.Tensor) -> None:
        self._start, self._pixels = start, pixels
        self._images = torch.zeros((length, len(pixels)), device=pixels.device)
        self._number = 0

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        length = len(self._images)
        self._images[self._number % length] = x.detach().flatten()[self._pixels]
        self._number += 1
        seen = min(self._number, length)
        # Until the window is full the rest of it counts as if nothing had been learnt.
        spread = self._images[:seen].var(dim=0, correction=0).mean()
        return spread + (1 - seen / length) * self._start


class _ExponentialVariance:
    """The variance of all images, the earlier the less."""

    def __init__(self, length: int, start: torch.Tensor) -> None:
        self._decay, self._variance = 1 - 1 / length, start
        self._mean: torch.Tensor | None = None

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        self._mean = x if self._mean is None else self._mean
        away = x - self._mean
        self._variance = self._decay * (self._variance + (1 - self._decay) * (away**2).mean())
        self._mean = self._mean + (1 - self._decay) * away
        return self._variance
