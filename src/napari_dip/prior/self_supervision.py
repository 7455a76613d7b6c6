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
        if self.method == "masked" and float(problem.observed.float().mean()) < MIN_OBSERVED_FRACTION:
            return "none"
        return self.method

    def splitter(
        self,
        problem: Problem,
        input_downsampling: int,
        generator: torch.Generator,
        *,
        is_complete: bool | None = None,
    ) -> Splitter | None:
        """Return what splits the data of `problem` at each step; None for the plain prior.

        `is_complete` says whether all data are observed, where that is known: a GPU need not be asked.
        """
        match self.select_method(problem, input_downsampling):
            case "recorrupted":
                complete = bool(problem.observed.all()) if is_complete is None else is_complete
                alpha = self.alpha or DEFAULT_ALPHA
                return _Recorrupt(problem, alpha, generator, is_complete=complete)
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
    to inpaint regions of just this shape.
    """

    def __init__(
        self, problem: Problem, alpha: float, generator: torch.Generator, *, is_complete: bool
    ) -> None:
        self._problem, self._alpha, self._shifts = problem, alpha, generator
        self.generator = spawn_generator(problem, generator)
        self._complete = is_complete

    def __call__(self, x: torch.Tensor | None) -> Split:
        noisier, target = split_noise(self._problem, x, self._alpha, self.generator)
        if not self._complete:
            sides = noisier.y.shape[-2:]
            shifts = tuple(int(torch.randint(n, (), generator=self._shifts)) for n in sides)
            elsewhere = noisier.observed.roll(shifts, (-2, -1))
            noisier = replace(noisier, observed=noisier.observed & elsewhere)
        return Split(noisier, target)


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
