"""The observation inside the code: the network sees one half of the data and has to answer the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise import NoiseKind
from napari_dip.physics.problem import Problem

Method = Literal["recorrupted", "masked", "none"]

_METHOD_FOR: dict[NoiseKind, Method] = {
    "white": "recorrupted",
    "correlated": "recorrupted",
    "heavy-tailed": "masked",
    "clipped": "masked",
    "structured": "none",
}
MIN_OBSERVED_FRACTION = 0.25  # part of all pixels: of fewer, none can be spared


class SelfSupervision(Settings):
    """What the network is given of the observation itself, beside its code.

    At every step the data are split in two, anew, so that nothing of the noise in the one half is in
    the other; the network is given the first and fitted to the second. It cannot learn the noise by
    copying it, and it need not make up what the observation shows.

    References
    ----------
    .. [1] Pang, Zheng, Quan, Ji, "Recorrupted-to-Recorrupted: unsupervised deep learning for image
           denoising", CVPR 2021 (noise).
    .. [2] Quan, Chen, Pang, Ji, "Self2Self with dropout: learning self-supervised denoising from
           single image", CVPR 2020 (pixels).
    """

    method: Literal["auto", "recorrupted", "masked", "none"] = "auto"
    """How the data are split: by more of their own noise, which has to be known; by pixels, where
    it is not or there is hardly any (but not where three of four are missing); or not at all, the
    plain prior. Automatic: by noise where it is Gaussian, or as its model says, and the same
    everywhere; by pixels where it has longer tails, or is cut off at the limits of censored data;
    not at all where neighbouring pixels share it and it differs from place to place."""
    alpha: Annotated[float, Field(ge=0.1, le=3)] = 0.5
    """Split by noise: how much more of it the network's half gets, in proportion to the data's own."""
    split_ratio: Annotated[float, Field(ge=0.1, le=0.95)] = 0.7
    """Split by pixels: the part of them that the network is given."""

    def select_method(self, problem: Problem, input_downsampling: int) -> Method:
        """How the data of `problem` are split.

        `shrink` is how many pixels of the image one of the code becomes.

        Raises
        ------
        SettingsError
            If the code is smaller than the image: it has no place for the observation.
        """
        if self.method == "auto":
            if input_downsampling > 1:
                return "none"
            return _METHOD_FOR[problem.likelihood.kind]
        if self.method != "none" and input_downsampling > 1:
            raise SettingsError(
                f"self_supervision.method '{self.method}' needs a network whose code is as large as the image:"
                " choose another network.kind, or self_supervision.method none"
            )
        if self.method == "masked" and float(problem.observed.float().mean()) < MIN_OBSERVED_FRACTION:
            return "none"
        return self.method

    def splitter(
        self, problem: Problem, input_downsampling: int, generator: torch.Generator
    ) -> Splitter | None:
        """What splits the data of `problem` at every step; None for the plain prior."""
        match self.select_method(problem, input_downsampling):
            case "recorrupted":
                return _Recorrupt(problem, self.alpha, generator)
            case "masked":
                return _MaskPixels(problem, self.split_ratio, problem.generator(generator))
        return None


@dataclass(frozen=True)
class Split:
    """The data of one step, split.

    Attributes
    ----------
    given : Problem
        The data that the network sees.
    asked : Problem
        The data that its image has to explain.
    """

    input: Problem
    target: Problem


class Splitter(ABC):
    """Splits the data of one problem."""

    @abstractmethod
    def __call__(self, x: torch.Tensor | None) -> Split:
        """The halves for the next step; `x` is the scene as far as it is known, (C, H, W)."""


class _Recorrupt(Splitter):
    """Given the data with more noise, asked the data less as much as makes the two independent.

    What is missing is hidden once more elsewhere, at random, and asked there: so the network
    learns to fill holes of this very shape.
    """

    def __init__(self, problem: Problem, alpha: float, generator: torch.Generator) -> None:
        self._problem, self._alpha, self._shifts = problem, alpha, generator
        self._generator = problem.generator(generator)
        self._complete = bool(problem.observed.all())

    def __call__(self, x: torch.Tensor | None) -> Split:
        given, asked = self._problem.split(x, self._alpha, self._generator)
        if not self._complete:
            shifts = tuple(int(torch.randint(n, (), generator=self._shifts)) for n in given.y.shape[-2:])
            elsewhere = given.observed.roll(shifts, (-2, -1))
            given = replace(given, observed=given.observed & elsewhere)
        return Split(given, asked)


class _MaskPixels(Splitter):
    """Given some of the pixels, asked the others."""

    def __init__(self, problem: Problem, split_ratio: float, generator: torch.Generator) -> None:
        self._problem, self._split_ratio, self._generator = problem, split_ratio, generator

    def __call__(self, x: torch.Tensor | None) -> Split:
        problem, y = self._problem, self._problem.y
        draw = torch.rand((len(y), 1, *y.shape[2:]), generator=self._generator, device=y.device)
        kept = draw < self._split_ratio
        return Split(
            input=replace(problem, observed=problem.observed & kept),
            target=replace(problem, observed=problem.observed & ~kept),
        )
