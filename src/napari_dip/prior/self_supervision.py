"""The observation inside the code: the network sees one half of the data and has to answer the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise import Character
from napari_dip.physics.problem import Problem

Split = Literal["noise", "pixels", "none"]

_FITTING: dict[Character, Split] = {
    "white": "noise",
    "correlated": "noise",
    "long tails": "pixels",
    "clipped": "pixels",
    "structured": "none",
}
FEW = 0.25  # part of all pixels: of fewer, none can be spared


class Recorruption(Settings):
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

    split: Literal["auto", "noise", "pixels", "none"] = "auto"
    """How the data are split: by more of their own noise, which has to be known; by pixels, where
    it is not or there is hardly any (but not where three of four are missing); or not at all, the
    plain prior. Automatic: by noise where it is Gaussian, or as its model says, and the same
    everywhere; by pixels where it has longer tails, or is cut off at the limits of censored data;
    not at all where neighbouring pixels share it and it differs from place to place."""
    strength: Annotated[float, Field(ge=0.1, le=3)] = 0.5
    """Split by noise: how much more of it the network's half gets, in proportion to the data's own."""
    kept: Annotated[float, Field(ge=0.1, le=0.95)] = 0.7
    """Split by pixels: the part of them that the network is given."""

    def chosen(self, problem: Problem, shrink: int) -> Split:
        """How the data of `problem` are split.

        `shrink` is how many pixels of the image one of the code becomes.

        Raises
        ------
        SettingsError
            If the code is smaller than the image: it has no place for the observation.
        """
        if self.split == "auto":
            if shrink > 1:
                return "none"
            return _FITTING[problem.likelihood.character]
        if self.split != "none" and shrink > 1:
            raise SettingsError(
                f"recorruption.split '{self.split}' needs a network whose code is as large as the image:"
                " choose another network.kind, or recorruption.split none"
            )
        if self.split == "pixels" and float(problem.observed.float().mean()) < FEW:
            return "none"
        return self.split

    def splitter(self, problem: Problem, shrink: int, generator: torch.Generator) -> Splitter | None:
        """What splits the data of `problem` at every step; None for the plain prior."""
        match self.chosen(problem, shrink):
            case "noise":
                return _ByNoise(problem, self.strength, generator)
            case "pixels":
                return _ByPixels(problem, self.kept, problem.generator(generator))
        return None


@dataclass(frozen=True)
class Halves:
    """The data of one step, split.

    Attributes
    ----------
    given : Problem
        The data that the network sees.
    asked : Problem
        The data that its image has to explain.
    """

    given: Problem
    asked: Problem


class Splitter(ABC):
    """Splits the data of one problem."""

    @abstractmethod
    def __call__(self, x: torch.Tensor | None) -> Halves:
        """The halves for the next step; `x` is the scene as far as it is known, (C, H, W)."""


class _ByNoise(Splitter):
    """Given the data with more noise, asked the data less as much as makes the two independent.

    What is missing is hidden once more elsewhere, at random, and asked there: so the network
    learns to fill holes of this very shape.
    """

    def __init__(self, problem: Problem, strength: float, generator: torch.Generator) -> None:
        self._problem, self._strength, self._shifts = problem, strength, generator
        self._generator = problem.generator(generator)
        self._complete = bool(problem.observed.all())

    def __call__(self, x: torch.Tensor | None) -> Halves:
        given, asked = self._problem.split(x, self._strength, self._generator)
        if not self._complete:
            shifts = tuple(int(torch.randint(n, (), generator=self._shifts)) for n in given.y.shape[-2:])
            elsewhere = given.observed.roll(shifts, (-2, -1))
            given = replace(given, observed=given.observed & elsewhere)
        return Halves(given, asked)


class _ByPixels(Splitter):
    """Given some of the pixels, asked the others."""

    def __init__(self, problem: Problem, kept: float, generator: torch.Generator) -> None:
        self._problem, self._kept, self._generator = problem, kept, generator

    def __call__(self, x: torch.Tensor | None) -> Halves:
        problem, y = self._problem, self._problem.y
        draw = torch.rand((len(y), 1, *y.shape[2:]), generator=self._generator, device=y.device)
        kept = draw < self._kept
        return Halves(
            given=replace(problem, observed=problem.observed & kept),
            asked=replace(problem, observed=problem.observed & ~kept),
        )
