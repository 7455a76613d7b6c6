"""How the output of the network becomes data units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import FWHM_OVER_SIGMA
from napari_dip.physics.problem import Problem

LARGE_RANGE_SIGMAS = 1000  # noise sigmas between the background and the brightest pixel
LARGE_NOISE_GROWTH = 3  # noise of the brightest pixel over that of the background
ASINH_SOFTENING_SIGMAS = 10  # noise sigmas; at 10 the stretch causes no bias that matters
MAX_ASINH = 25  # beyond (sinh: 3.6e10) the network is astray; a finite gradient brings it back


class Output(Settings):
    """How the output of the network becomes data units."""

    stretch: Literal["auto", "linear", "asinh"] = "auto"
    """Linear, or asinh for images whose stars outshine the sky by far; automatic: asinh where the
    brightest pixel is a thousand times the noise above the background, or has more than three times the
    noise of the background."""


@dataclass(frozen=True)
class AsinhStretch:
    """The map from data units to asinh((y - background) / softening), and its inverse."""

    background: torch.Tensor
    softening: torch.Tensor

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return data `y` on the stretched scale."""
        return torch.asinh((y - self.background) / self.softening)

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Return values of the stretched scale in data units."""
        return self.background + self.softening * torch.sinh(x.clamp(-MAX_ASINH, MAX_ASINH))

    def to(self, device: torch.device) -> AsinhStretch:
        """Return the same map on another device."""
        return AsinhStretch(self.background.to(device), self.softening.to(device))


def noise_growth(problem: Problem) -> float:
    """Return the noise of the brightest datum over the median noise."""
    observed = problem.observed
    noise = problem.likelihood.random_std(problem.y).expand_as(problem.y)[observed]
    return float(noise[problem.y[observed].argmax()] / noise.median())


def choose_stretch(
    values: torch.Tensor,
    observed: torch.Tensor,
    noise: torch.Tensor,
    output: Output,
    growth: float,
    large_range: float = LARGE_RANGE_SIGMAS,
) -> AsinhStretch | None:
    """Return the asinh stretch where `output` or the data (C, N) demand it; None for a linear scale.

    `noise` is the standard deviation of each channel, (C, 1, 1), `growth` that of `noise_growth`, and
    `large_range` the distance of the brightest pixel from the background that is too large for a linear
    scale, in noise sigmas.
    """
    values, observed = values.cpu(), observed.cpu()
    shared = values[observed].median()
    background, brightest = [], 0.0
    for channel, known, sigma in zip(values, observed, noise.flatten().tolist(), strict=True):
        background.append(channel[known].median() if known.any() else shared)
        if known.any():
            brightest = max(brightest, float((channel[known] - background[-1]).abs().max()) / sigma)
    is_large = brightest >= large_range or growth > LARGE_NOISE_GROWTH
    if output.stretch == "linear" or (output.stretch == "auto" and not is_large):
        return None
    level = torch.stack(background)[:, None, None].to(noise.device)
    return AsinhStretch(level, ASINH_SOFTENING_SIGMAS * noise)


def location_and_scale(y: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the observed values of each channel (C, N); (C, 1, 1) each.

    A channel with one value, or none, has those of all channels together.
    """
    device = y.device
    y, observed = y.cpu().double(), observed.cpu()  # MPS has no double precision
    shared = y[observed]
    offset, scale = [], []
    for channel, known in zip(y, observed, strict=True):
        own = channel[known]
        own = own if own.numel() > 1 and own.std() > 0 else shared
        offset.append(own.mean())
        scale.append(own.std())
    return (
        torch.stack(offset).float()[:, None, None].to(device),
        torch.stack(scale).float()[:, None, None].to(device),
    )


@dataclass(frozen=True)
class OutputScale:
    """The map between the output of the network, which is of order one, and data units.

    On the linear scale x = offset + scale * f, with the mean and the standard deviation of the data of
    each channel; on the asinh scale x = background + s * sinh(offset + scale * f), with s ten times the
    noise, and the mean and standard deviation of asinh((y - background) / s).
    """

    offset: torch.Tensor
    scale: torch.Tensor
    stretch: AsinhStretch | None
    kernel: torch.Tensor | None
    """A Gaussian along one axis, to which the output is smoothed."""

    @classmethod
    def from_data(
        cls,
        problem: Problem,
        output: Output,
        large_range: float = LARGE_RANGE_SIGMAS,
        *,
        is_common: bool = False,
    ) -> OutputScale:
        """Return the scale of the data of `problem`; see `choose_stretch` for `large_range`.

        A scale that `is_common` to all channels, whose ratios mean something, has no offset and no
        stretch: it is their r.m.s. value.
        """
        values, observed = problem.scaled_data()
        if is_common:
            size = values[observed].square().mean().sqrt().expand(len(values), 1, 1)
            return cls(torch.zeros_like(size), size, None, None)
        stretch = choose_stretch(
            values, observed, problem.scene_noise_std, output, noise_growth(problem), large_range
        )
        stretched = stretch.forward(values[:, None])[:, 0] if stretch else values
        fwhm = problem.operator.resolution_fwhm
        kernel = _gaussian_kernel(fwhm).to(problem.y.device) if fwhm else None
        return cls(*location_and_scale(stretched, observed), stretch, kernel)

    def to(self, device: torch.device) -> OutputScale:
        """Return the same map on another device."""
        return OutputScale(
            self.offset.to(device),
            self.scale.to(device),
            self.stretch and self.stretch.to(device),
            None if self.kernel is None else self.kernel.to(device),
        )

    def to_network_units(self, x: torch.Tensor) -> torch.Tensor:
        """Return a scene (..., C, Y, X) in data units as the network would output it."""
        return ((self.stretch.forward(x) if self.stretch else x) - self.offset) / self.scale

    def to_data_units(self, image: torch.Tensor) -> torch.Tensor:
        """Return the output of the network (..., C, Y, X) in data units."""
        x = self.offset + self.scale * image
        x = self.stretch.inverse(x) if self.stretch else x
        if self.kernel is None:
            return x
        reach = len(self.kernel) // 2
        flat = x.reshape(-1, 1, *x.shape[-2:])
        flat = torch.nn.functional.pad(flat, 4 * (reach,), mode="replicate")
        flat = torch.nn.functional.conv2d(flat, self.kernel[None, None, :, None])
        return torch.nn.functional.conv2d(flat, self.kernel[None, None, None, :]).reshape(x.shape)

    def noise_level(self, noise: torch.Tensor) -> float:
        """Return the standard deviation of the noise at the background, in the units of the network."""
        softening = self.stretch.softening if self.stretch else 1.0
        return float((noise / softening / self.scale).median())


def _gaussian_kernel(fwhm: float) -> torch.Tensor:
    sigma = fwhm / FWHM_OVER_SIGMA
    half = math.ceil(3.5 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
    return line / line.sum()
