"""Data consistency after the fit: the scene and the network's picture of it are brought together."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior

AVERAGING = 0.9


class AdmmSettings(Settings):
    """Alternating directions (ADMM): what the network could not show and the data do is put back.

    Each round finds the scene that explains the data and lies near the network's picture, and then
    trains the network on that scene.

    References
    ----------
    .. [1] Boyd et al., "Distributed optimization and statistical learning via the alternating direction
           method of multipliers", Found. Trends Mach. Learn. 3 (2011) 1, section 3.1.1 (scaled form).
    .. [2] Li et al., "Graph image prior for unsupervised dynamic cardiac cine MRI reconstruction",
           arXiv 2403.15770, section 3.3 (as the last stage of a deep image prior).
    """

    max_iter: Annotated[int, Field(ge=0, le=1000)] = 0
    """Rounds after the fit; 0 for none. [round]"""
    inner_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Steps in each round for which the network is trained on the scene. [step]"""
    rho: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Price of a difference of one noise sigma between scene and network; at 1 a datum counts as much as
    the network. [1 / noise variance]"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    """Step size of the Adam optimiser in these rounds."""

    def brought(
        self, x: torch.Tensor, prior: Prior, problem: Problem, enough: Callable[[], bool]
    ) -> Generator[None, None, torch.Tensor]:
        """The scene (C, H, W) after all rounds, or `enough` of them, of `x` after the fit; step by step.

        Minimises E(X) + penalty / 2 |X - f(z)|^2 over X and f in turn, the squares in units of the
        noise.
        """
        if not self.max_iter:
            return x
        optimiser = torch.optim.Adam(prior.network.parameters(), lr=self.learning_rate)
        shown, dual = x, torch.zeros_like(x)
        for _ in range(self.max_iter):
            if enough():
                break
            with torch.no_grad():
                x = problem.prox(shown - dual, self.rho)
            running = torch.zeros_like(x)
            for _ in range(self.inner_steps):
                made, _ = prior(x)
                loss = ((made - x - dual) / problem.scene_noise_std).square().mean()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                running.lerp_(made.detach(), 1 - AVERAGING)
                yield
            shown = running / (1 - AVERAGING**self.inner_steps)
            dual = dual + x - shown
        return x
