"""The problem: which scene x explains the data y, seen through A, under the noise?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_dip.core.axes import SMALLEST_SIDE, BoolArray, ChannelLayout
from napari_dip.core.errors import ObservationError
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import masked_mean, normalized_convolution
from napari_dip.physics.linalg import conjugate_gradient
from napari_dip.physics.noise import Likelihood, NoiseSettings
from napari_dip.physics.noise._robust import huber
from napari_dip.physics.operators import Operator, OperatorSettings
from napari_dip.physics.regularizers import Regularization

MIN_HELD_OUT = 200  # held-out data whose mean can be trusted


@dataclass(frozen=True)
class Problem:
    """One frame, or some of one scene, on its device: data y (T, C, Y, X), A, and the noise.

    Attributes
    ----------
    y : (T, C, Y, X) float32
        Data in data units; 0 where nothing is observed, so that no NaN can spread.
    observed : (T, C, Y, X) bool
        The pixels that the loss counts.
    operator : Operator
        A.
    likelihood : Likelihood
        The noise.
    regularisers : Regularisers
        R(x), what else is known of the scene.
    """

    y: torch.Tensor
    observed: torch.Tensor
    operator: Operator
    likelihood: Likelihood
    regularization: Regularization
    scene_noise_std: torch.Tensor
    """The noise at each channel's background, (C, 1, 1), in the scene's units."""
    scene_layout: ChannelLayout
    """What the scene's channels stand for."""
    censored: torch.Tensor | None = None
    """Data that only say 'at least' or 'at most', (T, C, Y, X)."""

    @classmethod
    def from_data(
        cls,
        frame: Observation,
        operator: OperatorSettings,
        noise: NoiseSettings,
        regularization: Regularization | None = None,
        *,
        device: torch.device,
        reference: Likelihood | None = None,
    ) -> Problem:
        """The problem of an observation of shape (T, C, 1, Y, X), of a whole whose noise is `like`."""
        likelihood = noise.likelihood(frame, reference)
        observed = frame.observed[:, :, 0].copy()
        if likelihood.outliers is not None:
            observed &= ~likelihood.outliers
        seen_through = operator.build(frame)
        _, height, width = seen_through.scene_shape
        if min(height, width) < SMALLEST_SIDE:
            raise ObservationError(
                f"the image is {width} x {height} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
                " are needed"
            )
        censored = likelihood.censored
        return cls(
            y=torch.from_numpy(np.nan_to_num(frame.y[:, :, 0], nan=0.0)).to(device),
            observed=torch.from_numpy(observed).to(device),
            operator=seen_through.to(device),
            likelihood=likelihood.to(device),
            regularization=regularization or Regularization(),
            scene_noise_std=_channel_noise(likelihood, seen_through).to(device),
            scene_layout=seen_through.scene_layout or frame.channel_layout,
            censored=None if censored is None else torch.from_numpy(censored).to(device),
        )

    @property
    def uncensored(self) -> torch.Tensor:
        """The observed data that tell a value, and not 'at least' or 'at most', (T, C, Y, X)."""
        return self.observed if self.censored is None else self.observed & ~self.censored

    def predicted(self, x: torch.Tensor) -> torch.Tensor:
        """The noise-free data of the scene `x`, (T, C, Y, X)."""
        return self.operator(x) + self.operator.background

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood of the observed data given the scene `x`, plus R(x)."""
        return self.data_misfit(self.predicted(x)) + self.regularization(
            x, self.scene_noise_std, self.scene_layout.times
        )

    def data_misfit(self, predicted: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood of the observed data about `predicted` ones, (T, C, Y, X)."""
        return masked_mean(self.observed, self.likelihood.nll(predicted, self.y))

    def robust_loss(self, x: torch.Tensor) -> torch.Tensor:
        """The misfit with residuals beyond three sigmas counted in proportion (Huber's loss).

        For judging, not for fitting: the core of a bright star that was never fitted may be a
        hundred sigmas off, and would outweigh all the sky.
        """
        return masked_mean(self.observed, huber(self.likelihood.nll(self.predicted(x), self.y)))

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """Y - A x in data units, NaN where nothing is observed; (T, C, Y, X)."""
        return torch.where(self.observed, self.y - self.predicted(x), torch.nan)

    def noise_std(self, x: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the noise in each datum of the scene `x`, (T, C, Y, X)."""
        return self.likelihood.random_std(self.predicted(x)).expand_as(self.y)

    def scaled_data(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The data as if A did nothing but scale: values (C, N) in the scene's units, and observed.

        Or of a rough picture of the scene, where the data are none.
        """
        rough = self.operator.initial_estimate(self.y, self.observed)
        if rough is not None:
            return rough.flatten(1), torch.ones_like(rough.flatten(1), dtype=torch.bool)
        values = (self.y - self.operator.background) / self.operator.dc_gain
        channels = self.y.shape[1]
        return (
            values.movedim(1, 0).reshape(channels, -1),
            self.observed.movedim(1, 0).reshape(channels, -1),
        )

    def project_onto_data(self, x: torch.Tensor, *, steps: int = 30) -> torch.Tensor:
        """The scene nearest to `x` that predicts every observed datum, but those at a limit.

        That is x + A^H u, with M A A^H u = M (y - A x) and M the observed pixels.

        For the identity these are the observed pixels themselves; for downsampling it is the
        back-projection.
        """
        told = self.uncensored
        if self.operator.is_identity:
            return torch.where(told[0], self.y[0], x)

        def through(u: torch.Tensor) -> torch.Tensor:
            return told * self.operator(self.operator.adjoint(u))

        left = told * (self.y - self.predicted(x))
        return x + self.operator.adjoint(conjugate_gradient(through, left, steps))

    def prox(self, x: torch.Tensor, rho: float, *, steps: int = 20) -> torch.Tensor:
        """The scene that explains the observed data and lies near `x`, (C, H, W).

        That is the least |(y - A X) / noise|^2 + penalty |(X - x) / noise|^2 over the scene X, with the
        noise of the data where they are taken to be `x`.
        """
        weight = self.uncensored / self.noise_std(x).square()
        price = rho / self.scene_noise_std.square()

        def through(u: torch.Tensor) -> torch.Tensor:
            return self.operator.adjoint(weight * self.operator(u)) + price * u

        left = torch.where(self.uncensored, self.y - self.predicted(x), 0.0)
        return x + conjugate_gradient(through, self.operator.adjoint(weight * left), steps)

    def wiener_estimate(self) -> torch.Tensor:
        """The linear estimate of the scene with the least error, where it has no structure; (C, H, W).

        That is m + A^H u with (M A A^H M + r) u = M (y - A m), m the mean of each channel and r the
        ratio of the noise's variance to the scene's: a Wiener filter, with holes.

        References
        ----------
        .. [1] Kay, "Fundamentals of statistical signal processing: estimation theory", theorem 11.1.
        """
        values, observed = self.scaled_data()
        number = observed.sum(dim=1).clamp(min=1)
        mean = torch.where(observed, values, 0.0).sum(dim=1) / number
        centred = torch.where(observed, values - mean[:, None], 0.0)
        noise = self.scene_noise_std / self.scene_noise_std.max()
        scale = self.scene_noise_std.max()
        spread = ((centred / scale) ** 2).sum(dim=1)[:, None, None] / number[:, None, None]
        ratio = self.operator.dc_gain**2 * noise**2 / (spread - noise**2).clamp(min=1e-3 * spread)
        flat = mean[:, None, None].expand(self.operator.scene_shape)
        rough = self.operator.initial_estimate(self.y, self.observed)
        if rough is not None:
            flat, ratio = rough, self._noise_to_signal(rough)

        def through(u: torch.Tensor) -> torch.Tensor:
            return self.observed * self.operator(self.operator.adjoint(u)) + ratio * u

        left = torch.where(self.observed, self.y - self.predicted(flat), 0.0)
        return flat + self.operator.adjoint(conjugate_gradient(through, left, 12))

    def _noise_to_signal(self, x: torch.Tensor) -> torch.Tensor:
        """The ratio of the noise's variance to that of the scene about `x`, a scalar."""
        left = ((self.y - self.predicted(x)) / self.noise_std(x))[self.uncensored].square().mean()
        return 1 / (left - 1).clamp(min=1e-3 * left)

    def rms_beyond_wiener(self, x: torch.Tensor) -> float:
        """How far the scene `x` is from a linear estimate where that is one, r.m.s.; in data units."""
        if self.operator.is_identity:
            beyond = (x - self.smoothed[0])[~self.observed[0]]
        else:
            beyond = x - self.wiener_estimate()
        return float(beyond.cpu().double().square().mean().sqrt())

    def noisy_scene(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The data as a noisy scene, `x` itself where they tell nothing, and their noise; (C, H, W).

        For operators that copy.
        """
        deviation = self.likelihood.std(self.predicted(x))[0].expand_as(x)
        usual = deviation[deviation.isfinite()].median()
        noise = torch.where(deviation.isfinite(), deviation, usual)
        return torch.where(self.uncensored[0], self.y[0], x), noise

    def uncovered(self) -> BoolArray:
        """Pixels of the scene that no observed datum shows well: the prior makes them up; (C, H, W)."""
        seen = self.operator.coverage(self.observed)
        whole = self.operator.coverage(torch.ones_like(self.observed))
        once = whole[:, self.operator.valid_region[0], self.operator.valid_region[1]].median() / len(
            self.y
        )
        return np.asarray((seen <= 0.5 * torch.minimum(whole, once)).cpu())

    def data_psnr(self, x: torch.Tensor) -> float:
        """How well the scene `x` predicts the observed data: range over r.m.s. residual. [dB]"""
        left, y = self.residual(x)[self.observed], self.y[self.observed]
        error = torch.sqrt((left.cpu().double() ** 2).mean())
        return float(20 * torch.log10((y.max() - y.min()).cpu().double() / error.clamp(min=1e-30)))

    def rms_normalized_residual(self, x: torch.Tensor) -> torch.Tensor:
        """The r.m.s. residual of the scene `x` in standard deviations of the noise, a scalar."""
        left = ((self.y - self.predicted(x)) / self.noise_std(x))[self.uncensored]
        return left.square().mean().sqrt()

    def split(
        self, x: torch.Tensor | None, strength: float, generator: torch.Generator
    ) -> tuple[Problem, Problem]:
        """Two problems of one scene whose data have independent noise: the first has little more.

        `x` (C, H, W) is the scene as far as it is known: it says how strong the noise is.
        """
        mean = self.predicted(x) if x is not None else self.smoothed
        first, second = self.likelihood.split(self.y, mean, strength, generator)
        return (
            replace(self, y=first, likelihood=self.likelihood.of_first_part(strength)),
            replace(self, y=second),
        )

    def generator(self, seeds: torch.Generator) -> torch.Generator:
        """A generator on the data's device, seeded by another one."""
        seed = int(torch.randint(2**31, (), generator=seeds))
        return torch.Generator(self.y.device).manual_seed(seed)

    @cached_property
    def smoothed(self) -> torch.Tensor:
        """The data over 5 x 5 pixels, from those that are observed, (T, C, Y, X)."""
        level = self.y[self.observed].mean()
        centred = torch.where(self.observed, self.y - level, 0.0)
        return level + normalized_convolution(
            centred, self.observed.float(), torch.zeros_like(self.observed)
        )

    def hold_out(self, fraction: float, generator: torch.Generator) -> tuple[Problem, Problem]:
        """This problem without a random `fraction` of its data, and with those data alone.

        Of small problems more, up to a tenth: a few dozen pixels could not tell one step from the next.
        """
        # The pixels with the least random numbers: at least one, and never all of them.
        draw = torch.rand(self.y.shape, generator=generator)
        draw[~self.observed.cpu()] = torch.inf
        known = int(self.observed.sum())
        number = min(max(round(fraction * known), min(MIN_HELD_OUT, known // 10), 1), known - 1)
        drawn = torch.zeros(draw.numel(), dtype=torch.bool)
        drawn[draw.flatten().argsort()[:number]] = True
        drawn = drawn.reshape(draw.shape).to(self.y.device)
        return (
            replace(self, observed=self.observed & ~drawn),
            replace(self, observed=self.observed & drawn),
        )


def _channel_noise(likelihood: Likelihood, operator: Operator) -> torch.Tensor:
    """The median noise of each channel, (C, 1, 1), in the scene's units; the others' where unknown.

    The same in all where the scene has other channels than the data.
    """
    planes = np.moveaxis(likelihood.sigma, 1, 0).reshape(likelihood.sigma.shape[1], -1)
    known = np.isfinite(planes)
    every = np.median(planes[known])
    noise = [np.median(p[k]) if k.any() else every for p, k in zip(planes, known, strict=True)]
    if len(noise) != operator.scene_shape[0]:
        noise = operator.scene_shape[0] * [every]
    return torch.from_numpy(np.array(noise, np.float32)[:, None, None] / np.float32(operator.dc_gain))
