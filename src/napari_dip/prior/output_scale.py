"""How the network's numbers become data units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem

LARGE_RANGE_SIGMAS = 1000  # noise sigmas between background and brightest pixel


LARGE_NOISE_GROWTH = 3  # times the noise of the background, in the brightest pixel


ASINH_SOFTENING_SIGMAS = 10  # noise sigmas; at 10 a stretch biases nothing that matters


class Output(Settings):
    """How the network's numbers become data units."""

    stretch: Literal["auto", "linear", "asinh"] = "auto"
    """Linear, or sinh for frames whose stars outshine the sky by far; automatic: sinh where the
    brightest pixel is a thousand times the noise above the background, or its own photons have
    more than three times the background's noise."""
    min_fwhm: Annotated[float, Field(ge=0, le=50)] = 0.0
    """Full width at half maximum of the smallest thing that the result may show; the network's picture
    is smoothed to it. 0 for no limit. [pixel of the result]"""


@dataclass(frozen=True)
class AsinhStretch:
    """asinh((y - background) / softening) and back."""

    background: torch.Tensor
    softening: torch.Tensor

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return torch.asinh((y - self.background) / self.softening)

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        # Beyond 25 the network is astray (sinh: 3.6e10); a finite gradient brings it back.
        return self.background + self.softening * torch.sinh(x.clamp(-25, 25))


def noise_growth(problem: Problem) -> float:
    """How much more noise there is in the brightest datum than usual."""
    known = problem.observed
    noise = problem.likelihood.random_std(problem.y).expand_as(problem.y)[known]
    return float(noise[problem.y[known].argmax()] / noise.median())


def choose_stretch(
    values: torch.Tensor, observed: torch.Tensor, noise: torch.Tensor, output: Output, growth: float
) -> AsinhStretch | None:
    """The sinh scale where it was asked for, or where the data (C, N), or their noise, need it."""
    values, observed = values.cpu(), observed.cpu()
    shared = values[observed].median()
    background, brightest = [], 0.0
    for channel, known, sigma in zip(values, observed, noise.flatten().tolist(), strict=True):
        background.append(channel[known].median() if known.any() else shared)
        if known.any():
            brightest = max(brightest, float((channel[known] - background[-1]).abs().max()) / sigma)
    large = brightest >= LARGE_RANGE_SIGMAS or growth > LARGE_NOISE_GROWTH
    if output.stretch == "linear" or (output.stretch == "auto" and not large):
        return None
    return AsinhStretch(
        torch.stack(background)[:, None, None].to(noise.device), ASINH_SOFTENING_SIGMAS * noise
    )


def location_and_scale(y: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over the observed values of each channel (C, N); (C, 1, 1) each.

    A channel with one value, or none, borrows from all channels together.
    """
    device = y.device
    y, observed = y.cpu().double(), observed.cpu()  # Apple's GPUs know no double precision
    shared = y[observed]
    low, span = [], []
    for channel, known in zip(y, observed, strict=True):
        own = channel[known]
        own = own if own.numel() > 1 and own.std() > 0 else shared
        low.append(own.mean())
        span.append(own.std())
    return (
        torch.stack(low).float()[:, None, None].to(device),
        torch.stack(span).float()[:, None, None].to(device),
    )
