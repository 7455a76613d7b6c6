"""Self-supervision: the network sees one part of the data and has to predict the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.noise_properties import NoiseKind
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.physics.splitting import spawn_generator, split_noise

Method = Literal["recorrupted", "masked", "none"]

DEFAULT_ALPHA = 0.5
MIN_OBSERVED_FRACTION = 0.25  # of all pixels: with fewer, none can be spared
MANY_MISSING = 0.2  # of all pixels: if all of them were missing elsewhere, too, too few would be left
_METHOD_FOR: dict[NoiseKind, Method] = {
    "white": "recorrupted",
    "correlated": "recorrupted",
    "heavy-tailed": "masked",
    "clipped": "masked",
    "structured": "none",
}


class SelfSupervision(Settings):
    """What the network is given of the observation itself, besides its fixed input.

    At each step the data are split in two, at random, so that the noise of one part is independent of
    that of the other. The network is given the first part and fitted to the second: it cannot learn the
    noise by copying it, and need not invent what the observation shows.

    References
    ----------
    .. [1] Pang, Zheng, Quan, Ji, "Recorrupted-to-Recorrupted: unsupervised deep learning for image
           denoising", CVPR 2021 (recorrupted).
    .. [2] Quan, Chen, Pang, Ji, "Self2Self with dropout: learning self-supervised denoising from
           single image", CVPR 2020 (masked).
    """

    method: Literal["auto", "recorrupted", "masked", "none"] = "auto"
    """How the data are split: recorrupted by more of their own noise, whose statistics must be known; by
    masked pixels, where they are not or there is hardly any noise (but not where three of four pixels
    are missing); or not at all (the plain prior). Automatic: recorrupted where the noise is uniform and
    Gaussian, or as its model says; masked where it is heavy-tailed or clipped at the limits of censored
    data; none where it is correlated and differs from place to place."""
    alpha: Annotated[float, Field(ge=0.1, le=3)] | None = None
    """Recorrupted: strength of the noise that is added to the input, relative to that of the data;
    automatic: 0.5, and 0.7 for an amortized fit."""
    split_ratio: Annotated[float, Field(ge=0.1, le=0.95)] = 0.7
    """Masked: fraction of the pixels that the network is given."""

    def select_method(self, problem: Problem, input_downsampling: int) -> Method:
        """Return how the data of `problem` are split.

        Parameters
        ----------
        problem : Problem
            The problem to split.
        input_downsampling : int
            Pixels of the image per pixel of the network input.

        Raises
        ------
        SettingsError
            If the network input is smaller than the image, so that the observation does not fit into it.
        """
        if self.method == "auto":
            if input_downsampling > 1:
                return "none"
            return _METHOD_FOR[problem.likelihood.properties.kind]
        if self.method != "none" and input_downsampling > 1:
            raise SettingsError(
                f"self_supervision.method '{self.method}' needs a network whose input is as large as the"
                " image: choose another network.kind, or self_supervision.method none"
            )
        if self.method == "masked" and 1 - problem.missing_share < MIN_OBSERVED_FRACTION:
            return "none"
        return self.method

    def splitter(
        self,
        problem: Problem,
        input_downsampling: int,
        generator: torch.Generator,
        *,
        missing_share: float | None = None,
    ) -> Splitter | None:
        """Return what splits the data of `problem` at each step; None for the plain prior.

        `missing_share` is the fraction of the data that are missing, where that is known: a GPU need not
        be asked.
        """
        match self.select_method(problem, input_downsampling):
            case "recorrupted":
                share = problem.missing_share if missing_share is None else missing_share
                return _Recorrupt(problem, self.alpha or DEFAULT_ALPHA, generator, share)
            case "masked":
                return _MaskPixels(problem, self.split_ratio, spawn_generator(problem, generator))
        return None


@dataclass(frozen=True)
class Split:
    """The data of one step.

    Attributes
    ----------
    input : Problem
        The data that the network sees.
    target : Problem
        The data that its image has to explain.
    """

    input: Problem
    target: Problem


class Splitter(ABC):
    """Splits the data of one problem.

    Attributes
    ----------
    generator : torch.Generator
        Source of the random numbers of each split.
    """

    generator: torch.Generator

    @abstractmethod
    def __call__(self, x: torch.Tensor | None) -> Split:
        """Return the split of the next step; `x` is the scene as far as it is known, (C, H, W)."""


class _Recorrupt(Splitter):
    """The input has more noise, and the target as much less as makes their noise independent.

    What is missing is masked once more elsewhere, at random, and predicted there: so the network learns
    to inpaint regions of just this shape. Where much is missing, only what lies in a window of random
    size is.
    """

    def __init__(
        self, problem: Problem, alpha: float, generator: torch.Generator, missing_share: float
    ) -> None:
        self._problem, self._alpha, self._shifts = problem, alpha, generator
        self.generator = spawn_generator(problem, generator)
        self._missing_share = missing_share

    def __call__(self, x: torch.Tensor | None) -> Split:
        noisier, target = split_noise(self._problem, x, self._alpha, self.generator)
        if self._missing_share:
            elsewhere = self._shifted(noisier.observed)
            if self._missing_share > MANY_MISSING:
                elsewhere = elsewhere | self._outside_a_window(noisier.observed)
            noisier = replace(noisier, observed=noisier.observed & elsewhere)
        return Split(noisier, target)

    def _shifted(self, planes: torch.Tensor) -> torch.Tensor:
        """`planes` (..., Y, X) moved at random, and periodic."""
        shifts = [int(torch.randint(n, (), generator=self._shifts)) for n in planes.shape[-2:]]
        return planes.roll(shifts, (-2, -1))

    def _outside_a_window(self, like: torch.Tensor) -> torch.Tensor:
        """What is outside a window at random, whose area is a random part of the image's, (Y, X)."""
        side = (int(torch.randint(1001, (), generator=self._shifts)) / 1000) ** 0.5
        rows, columns = (torch.arange(n, device=like.device) >= side * n for n in like.shape[-2:])
        return self._shifted(rows[:, None] | columns)


class _MaskPixels(Splitter):
    """The input has some of the pixels, and the target the others."""

    def __init__(self, problem: Problem, split_ratio: float, generator: torch.Generator) -> None:
        self._problem, self._split_ratio, self.generator = problem, split_ratio, generator

    def __call__(self, x: torch.Tensor | None) -> Split:
        problem, y = self._problem, self._problem.y
        draw = torch.rand((len(y), 1, *y.shape[2:]), generator=self.generator, device=y.device)
        chosen = draw < self._split_ratio
        return Split(
            input=replace(problem, observed=problem.observed & chosen),
            target=replace(problem, observed=problem.observed & ~chosen),
        )
