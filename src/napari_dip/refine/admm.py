"""ADMM after the fit: the scene and the network's image of it are brought together."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.data_consistency import prox
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior

EMA_DECAY = 0.9


class AdmmSettings(Settings):
    """Alternating direction method of multipliers: recover what the data show and the network cannot.

    Each iteration finds the scene that explains the data and lies near the network's image, and then
    trains the network on that scene.

    References
    ----------
    .. [1] Boyd et al., "Distributed optimization and statistical learning via the alternating direction
           method of multipliers", Found. Trends Mach. Learn. 3 (2011) 1, section 3.1.1 (scaled form).
    .. [2] Li et al., "Graph image prior for unsupervised dynamic cardiac cine MRI reconstruction",
           arXiv 2403.15770, section 3.3 (as the last stage of a deep image prior).
    """

    max_iter: Annotated[int, Field(ge=0, le=1000)] = 0
    """Number of iterations after the fit; 0 for none. [iteration]"""
    inner_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Steps of each iteration in which the network is trained on the scene. [step]"""
    rho: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Penalty on the squared difference between scene and network; at 1 a datum counts as much as the
    network. [1 / noise variance]"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    """Step size of the Adam optimizer in these steps."""


class Admm:
    """Minimizes E(X) + rho / 2 |X - f(z)|^2 over the scene X and the network f in turn.

    The squares are in units of the noise.
    """

    def __init__(self, settings: AdmmSettings, problem: Problem, prior: Prior) -> None:
        self._settings, self._problem, self._prior = settings, problem, prior

    def run(
        self, x: torch.Tensor, should_stop: Callable[[], bool]
    ) -> Generator[None, None, torch.Tensor]:
        """Return the scene (C, H, W) after all iterations from `x`, or as many as `should_stop` allows.

        A generator that yields after each inner step.
        """
        settings = self._settings
        if not settings.max_iter:
            return x
        network = self._prior.network
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        image, dual = x, torch.zeros_like(x)
        for _ in range(settings.max_iter):
            if should_stop():
                break
            with torch.no_grad():
                x = prox(self._problem, image - dual, settings.rho)
            average = torch.zeros_like(x)
            for _ in range(settings.inner_steps):
                made, _ = self._prior(x)
                loss = ((made - x - dual) / self._problem.scene_noise_std).square().mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                average.lerp_(made.detach(), 1 - EMA_DECAY)
                yield
            image = average / (1 - EMA_DECAY**settings.inner_steps)
            dual = dual + x - image
        return x
