"""The problem: which scene x explains the data y, seen through A, under the noise?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_dip.core.axes import SMALLEST_SIDE, BoolArray, ChannelLayout
from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import masked_mean, normalized_convolution
from napari_dip.physics.noise import Likelihood, NoiseSettings
from napari_dip.physics.noise._robust import huber
from napari_dip.physics.operators import Operator, OperatorSettings
from napari_dip.physics.regularizers import Regularization
from napari_dip.physics.windows import Windows


@dataclass(frozen=True)
class Problem:
    """The data of one fit on their device, the forward operator A, the noise, and R(x).

    Attributes
    ----------
    y : (T, C, Y, X) float32
        Data in data units; 0 where nothing is observed, so that no NaN can spread.
    observed : (T, C, Y, X) bool
        The data that the loss counts.
    operator : Operator
        A.
    likelihood : Likelihood
        The noise.
    regularization : Regularization
        R(x).
    scene_noise_std : (C, 1, 1) float32
        Noise at the background of each channel, in the units of the scene.
    scene_layout : ChannelLayout
        What the channels of the scene stand for.
    censored : (T, C, Y, X) bool or None
        Data that are only a lower or upper bound.
    """

    y: torch.Tensor
    observed: torch.Tensor
    operator: Operator
    likelihood: Likelihood
    regularization: Regularization
    scene_noise_std: torch.Tensor
    scene_layout: ChannelLayout
    censored: torch.Tensor | None = None

    @classmethod
    def from_data(
        cls,
        data: FitData,
        operator: OperatorSettings,
        noise: NoiseSettings,
        regularization: Regularization | None = None,
        *,
        device: torch.device,
        reference: Likelihood | None = None,
    ) -> Problem:
        """Set up the problem of `data`, a part of a whole whose noise is `reference`, if given.

        Raises
        ------
        ObservationError
            If the data lack what the operator needs, or the scene is too small.
        SettingsError
            If the noise is neither given nor can be measured.
        """
        likelihood = noise.likelihood(data, reference)
        observed = data.observed.copy()
        if likelihood.outliers is not None:
            observed &= ~likelihood.outliers
        forward = operator.build(data)
        forward.separate_sources(data, likelihood.random_std)
        _, height, width = forward.scene_shape
        if min(height, width) < SMALLEST_SIDE:
            raise ObservationError(
                f"the image is {width} x {height} pixels: at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
                " are needed"
            )
        censored = likelihood.censored
        return cls(
            y=torch.from_numpy(np.nan_to_num(data.y, nan=0.0)).to(device),
            observed=torch.from_numpy(observed).to(device),
            operator=forward.to(device),
            likelihood=likelihood.to(device),
            regularization=regularization or Regularization(),
            scene_noise_std=_channel_noise(likelihood, forward).to(device),
            scene_layout=forward.scene_layout or data.channel_layout,
            censored=None if censored is None else torch.from_numpy(censored).to(device),
        )

    @property
    def uncensored(self) -> torch.Tensor:
        """The observed data that are values and not bounds, (T, C, Y, X) bool."""
        return self.observed if self.censored is None else self.observed & ~self.censored

    @cached_property
    def missing_share(self) -> float:
        """The fraction of the data that are missing."""
        return 1 - int(self.observed.sum()) / self.observed.numel()  # MPS has no float64

    def crops(self, windows: Windows) -> Problem:
        """Return the problem of some `windows`, one after another along T; its operator is the
        identity, and only its data, their noise and the `data_misfit` are of use.
        """
        sides = (self.y.shape[-2], self.y.shape[-1])
        return replace(
            self,
            y=windows.cut(self.y),
            observed=windows.cut(self.observed),
            likelihood=self.likelihood.crops(windows, sides),
            censored=None if self.censored is None else windows.cut(self.censored),
        )

    def predicted(self, x: torch.Tensor) -> torch.Tensor:
        """Return the noise-free data of the scene `x`, (T, C, Y, X)."""
        return self.operator(x) + self.operator.background

    def adapt_operator(self, x: torch.Tensor) -> None:
        """Let the operator correct what is unknown of it, by the scene `x` as a fit sees it now."""
        self.operator.adapt(x, self.y - self.operator.background, self.observed)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of the observed data given `x`, plus R(x)."""
        penalty = self.regularization(x, self.scene_noise_std, self.scene_layout.times)
        return self.data_misfit(self.predicted(x)) + penalty

    def data_misfit(self, predicted: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of the observed data about `predicted` ones."""
        return self._weighted_mean(self.likelihood.nll(predicted, self.y))

    def robust_loss(self, x: torch.Tensor) -> torch.Tensor:
        """Return the data misfit, linear beyond residuals of three sigmas (Huber's loss).

        It is for validation, not for fitting: the core of a bright star that was held out may be off by
        a hundred sigmas, and would outweigh the whole sky.
        """
        return self._weighted_mean(huber(self.likelihood.nll(self.predicted(x), self.y)))

    def _weighted_mean(self, nll: torch.Tensor) -> torch.Tensor:
        return masked_mean(self.observed, self.operator.data_weights * nll)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """Return y - A x in data units, (T, C, Y, X); NaN where nothing is observed, or only a bound."""
        return torch.where(self.uncensored, self.y - self.predicted(x), torch.nan)

    def noise_std(self, x: torch.Tensor) -> torch.Tensor:
        """Return the standard deviation of the noise in each datum of the scene `x`, (T, C, Y, X)."""
        return self.likelihood.random_std(self.predicted(x)).expand_as(self.y)

    def scaled_data(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the data in the units of the scene, (C, N), and which of them are observed.

        Where the data are no image, an initial estimate of the scene stands in for them.
        """
        estimate = self.operator.initial_estimate(self.y, self.observed)
        if estimate is not None:
            return estimate.flatten(1), torch.ones_like(estimate.flatten(1), dtype=torch.bool)
        values = (self.y - self.operator.background) / self.operator.dc_gain
        channels = self.y.shape[1]
        return (
            values.movedim(1, 0).reshape(channels, -1),
            self.observed.movedim(1, 0).reshape(channels, -1),
        )

    def uncovered(self) -> BoolArray:
        """Return the pixels of the scene that no observed datum constrains, (C, H, W)."""
        coverage = self.operator.coverage(self.observed)
        full = self.operator.coverage(torch.ones_like(self.observed))
        inside = full[:, self.operator.valid_region[0], self.operator.valid_region[1]]
        once = inside.median() / len(self.y)
        return np.asarray((coverage <= 0.5 * torch.minimum(full, once)).cpu())

    def data_psnr(self, x: torch.Tensor) -> float:
        """Return how well the scene `x` predicts the data: their range over the r.m.s. residual. [dB]"""
        residual, y = self.residual(x)[self.uncensored], self.y[self.uncensored]
        error = torch.sqrt((residual.cpu().double() ** 2).mean())
        return float(20 * torch.log10((y.max() - y.min()).cpu().double() / error.clamp(min=1e-30)))

    def rms_normalized_residual(self, x: torch.Tensor) -> torch.Tensor:
        """Return the r.m.s. of the residual over the noise, a scalar."""
        normalized = ((self.y - self.predicted(x)) / self.noise_std(x))[self.uncensored]
        return normalized.square().mean().sqrt()

    @cached_property
    def smoothed(self) -> torch.Tensor:
        """The data smoothed over 5 x 5 pixels, from those that are observed, (T, C, Y, X)."""
        level = masked_mean(self.observed, self.y)
        centered = torch.where(self.observed, self.y - level, 0.0)
        return level + normalized_convolution(
            centered, self.observed.float(), torch.zeros_like(self.observed)
        )


def _channel_noise(likelihood: Likelihood, operator: Operator) -> torch.Tensor:
    """The median noise of each channel, (C, 1, 1), in the units of the scene.

    A channel of which nothing is known has the median of the others; all have where the scene has other
    channels than the data.
    """
    sigma = likelihood.properties.sigma
    planes = np.moveaxis(sigma, 1, 0).reshape(sigma.shape[1], -1)
    known = np.isfinite(planes)
    overall = np.median(planes[known])
    noise = [np.median(p[k]) if k.any() else overall for p, k in zip(planes, known, strict=True)]
    if len(noise) != operator.scene_shape[0]:
        noise = operator.scene_shape[0] * [overall]
    return torch.from_numpy(np.array(noise, np.float32)[:, None, None] / np.float32(operator.dc_gain))
