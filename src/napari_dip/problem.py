"""The problem: which scene x explains the data y, seen through A, under the noise?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_dip.noise import Likelihood, NoiseSettings
from napari_dip.observation import Observation
from napari_dip.operators import Operator, OperatorSettings
from napari_dip.torch_import import torch


@dataclass(frozen=True)
class Problem:
    """One frame on its device: data y (C, Y, X), where they are observed, A, and the noise.

    Attributes
    ----------
    y : (C, Y, X) float32
        Data in data units; 0 where nothing is observed, so that no NaN can spread.
    observed : (C, Y, X) bool
        The pixels that the loss counts.
    operator : Operator
        A.
    likelihood : Likelihood
        The noise.
    """

    y: torch.Tensor
    observed: torch.Tensor
    operator: Operator
    likelihood: Likelihood

    @classmethod
    def of(
        cls,
        frame: Observation,
        operator: OperatorSettings,
        noise: NoiseSettings,
        *,
        device: torch.device,
    ) -> Problem:
        """The problem of one frame, an observation of shape (1, C, 1, Y, X)."""
        return cls(
            y=torch.from_numpy(np.nan_to_num(frame.y[0, :, 0], nan=0.0)).to(device),
            observed=torch.from_numpy(frame.observed[0, :, 0].copy()).to(device),
            operator=operator.build(frame).to(device),
            likelihood=noise.likelihood(frame).to(device),
        )

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood of the observed data, given the scene `x`."""
        nll = self.likelihood.nll(self.operator(x), self.y)
        return torch.where(self.observed, nll, 0.0).sum() / self.observed.sum()

    def robust_loss(self, x: torch.Tensor) -> torch.Tensor:
        """The loss with residuals beyond three sigmas counted in proportion (Huber's loss).

        For judging, not for fitting: the core of a bright star that was never fitted may be a
        hundred sigmas off, and would outweigh all the sky.
        """
        nll = self.likelihood.nll(self.operator(x), self.y)
        sigmas = torch.sqrt(2 * nll)
        huber = torch.where(sigmas <= 3, nll, 3 * sigmas - 4.5)
        return torch.where(self.observed, huber, 0.0).sum() / self.observed.sum()

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """Y - A x in data units, NaN where nothing is observed."""
        return torch.where(self.observed, self.y - self.operator(x), torch.nan)

    def hold_out(self, fraction: float, generator: torch.Generator) -> tuple[Problem, Problem]:
        """This problem without a random `fraction` of its data, and with those data alone."""
        # The pixels with the least random numbers: at least one, and never all of them.
        draw = torch.rand(self.y.shape, generator=generator)
        draw[~self.observed.cpu()] = torch.inf
        known = int(self.observed.sum())
        number = min(max(round(fraction * known), 1), known - 1)
        drawn = torch.zeros(draw.numel(), dtype=torch.bool)
        drawn[draw.flatten().argsort()[:number]] = True
        drawn = drawn.reshape(draw.shape).to(self.y.device)
        return (
            replace(self, observed=self.observed & ~drawn),
            replace(self, observed=self.observed & drawn),
        )
