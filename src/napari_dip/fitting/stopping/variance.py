"""The variance of the iterates: lowest where the scene is learned and the noise is not."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.state import Stateful
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping, PatienceMonitor, StoppingMonitor
from napari_dip.physics.problem import Problem

MAX_COMPARED_PIXELS = 2**13  # of the images of a window


class VarianceStopping(EarlyStopping):
    """Stop when the images of many steps differ least: the scene is learned, and the noise is not yet.

    It assumes nothing about the noise and holds out no pixel: for noise whose correlation is unknown.

    References
    ----------
    .. [1] Wang, Li, Zhuang, Chen, Liang, Sun, "Early stopping for deep image prior", TMLR 2023
           (ES-WMV and ES-EMV).
    """

    kind: Literal["variance"] = "variance"
    window_length: Annotated[int, Field(ge=10, le=1000)] = 250
    """Number of steps whose images are compared. [step]"""
    method: Literal["wmv", "emv"] = "wmv"
    """Windowed moving variance, in which all steps of the window count the same, or exponential moving
    variance, in which later steps count more."""

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        values, observed = problem.scaled_data()
        start, name = values[observed].var(), "variance of the images"
        if self.method == "emv":
            return PatienceMonitor(self, problem, _ExponentialVariance(self.window_length, start), name)
        scene_size = math.prod(problem.operator.scene_shape)
        pixels = torch.randint(scene_size, (MAX_COMPARED_PIXELS,), generator=generator)
        variance = _WindowedVariance(self.window_length, start, pixels.to(problem.y.device))
        return PatienceMonitor(self, problem, variance, name)


class _WindowedVariance(Stateful):
    """The variance of the last images, at some of their pixels; `start` before anything is learned."""

    changing = ("_images", "_number")

    def __init__(self, length: int, start: torch.Tensor, pixels: torch.Tensor) -> None:
        self._start, self._pixels = start, pixels
        self._images = torch.zeros((length, len(pixels)), device=pixels.device)
        self._number = 0

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        length = len(self._images)
        self._images[self._number % length] = x.detach().flatten()[self._pixels]
        self._number += 1
        filled = min(self._number, length)
        # Until the window is full, the rest counts as if nothing had been learned.
        variance = self._images[:filled].var(dim=0, correction=0).mean()
        return variance + (1 - filled / length) * self._start


class _ExponentialVariance(Stateful):
    """The variance of all images, with exponentially decaying weights."""

    changing = ("_variance", "_mean")

    def __init__(self, length: int, start: torch.Tensor) -> None:
        self._decay, self._variance = 1 - 1 / length, start
        self._mean: torch.Tensor | None = None

    def __call__(self, average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        self._mean = x if self._mean is None else self._mean
        deviation = x - self._mean
        share = 1 - self._decay
        self._variance = self._decay * (self._variance + share * (deviation**2).mean())
        self._mean = self._mean + share * deviation
        return self._variance
