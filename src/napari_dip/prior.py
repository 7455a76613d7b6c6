"""The prior: x = low + span * f_theta(z), an untrained network in data units, curved for stars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_dip.codes import CodeSettings
from napari_dip.networks import NetworkSettings
from napari_dip.problem import Problem
from napari_dip.settings import Settings
from napari_dip.torch_import import torch

LARGE_RANGE = 1000  # noise sigmas between background and brightest pixel
SOFTENING = 10  # noise sigmas; at 10 a stretch biases nothing that matters


class Output(Settings):
    """How the network's numbers become data units."""

    scale: Literal["auto", "linear", "sinh"] = "auto"
    """Linear, or sinh for frames whose stars outshine the sky by far; automatic: sinh where the
    brightest pixel is a thousand times the noise above the background."""


class Prior:
    """Images that the network can make, at the scale of the data.

    On the linear scale x = low + span * f, with the mean and the standard deviation of each
    channel's observed data; on the sinh scale x = background + s * sinh(low + span * f), with s ten
    times the noise and the mean and standard deviation of asinh((y - background) / s). Either way
    the network's own output is of order one whatever the unit, and only the prior is curved: the
    likelihood stays in data units. Sizes that the network cannot divide are padded: the code is
    made larger and the image cut out of the network's output.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (2).
    """

    def __init__(
        self,
        problem: Problem,
        network: NetworkSettings,
        code: CodeSettings,
        output: Output,
        *,
        precision: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        device = problem.y.device
        channels, height, width = problem.operator.scene_shape
        self._stretch = _stretch(problem, output)
        flat = self._stretch.forward(problem.y) if self._stretch else problem.y
        self.low, self.span = _location_and_scale(flat, problem.observed)
        padded = _multiple(height, network.divisor), _multiple(width, network.divisor)
        top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
        self._window = (slice(top, top + height), slice(left, left + width))
        self._precision = precision
        self._code = code.build(padded, self._noise_level(problem), generator).to(device)
        with torch.device("meta"):
            module = network.build(code.channels, channels)
        module = module.to_empty(device="cpu")
        _initialise(module, generator)
        self.network = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _noise_level(self, problem: Problem) -> float:
        """The noise's standard deviation at the background, in the network's output."""
        sigma = np.nanmedian(problem.likelihood.sigma)
        scale = self._stretch.softening.median().item() if self._stretch else 1.0
        return float(sigma) / scale / self.span.median().item()

    def __call__(self) -> torch.Tensor:
        """The image for the next step's code: (C, H, W) float32 in data units."""
        z = self._code()
        half = self._precision != torch.float32
        with torch.autocast(z.device.type, dtype=self._precision, enabled=half):
            image: torch.Tensor = self.network(z)[0]
        x = self.low + self.span * image[:, self._window[0], self._window[1]]
        return self._stretch.inverse(x) if self._stretch else x


@dataclass(frozen=True)
class _Sinh:
    """asinh((y - background) / softening) and back."""

    background: torch.Tensor
    softening: torch.Tensor

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return torch.asinh((y - self.background) / self.softening)

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        # Beyond 25 the network is astray (sinh: 3.6e10); a finite gradient brings it back.
        return self.background + self.softening * torch.sinh(x.clamp(-25, 25))


def _stretch(problem: Problem, output: Output) -> _Sinh | None:
    """The sinh scale where it was asked for, or where the data need it."""
    y, observed = problem.y.cpu(), problem.observed.cpu()
    shared = y[observed].median()
    noise = [float(np.nanmedian(sigma)) for sigma in problem.likelihood.sigma]
    noise = [sigma if np.isfinite(sigma) else float(np.nanmedian(noise)) for sigma in noise]
    background, brightest = [], 0.0
    for channel, known, sigma in zip(y, observed, noise, strict=True):
        background.append(channel[known].median() if known.any() else shared)
        if known.any():
            brightest = max(brightest, float((channel[known] - background[-1]).abs().max()) / sigma)
    if output.scale == "linear" or (output.scale == "auto" and brightest < LARGE_RANGE):
        return None
    device = problem.y.device
    return _Sinh(
        torch.stack(background)[:, None, None].to(device),
        (SOFTENING * torch.tensor(noise))[:, None, None].to(device),
    )


def _location_and_scale(y: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over the observed pixels of each channel, (C, 1, 1) each.

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


def _multiple(side: int, divisor: int) -> int:
    return max(math.ceil(side / divisor), 2) * divisor


def _initialise(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Torch's own default initialisation, drawn from `generator` and not from the global state."""
    for layer in module.modules():
        match layer:
            case torch.nn.Conv2d():
                torch.nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                if layer.bias is not None:
                    bound = 1 / math.sqrt(layer.weight[0].numel())
                    torch.nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
            case torch.nn.BatchNorm2d():
                torch.nn.init.ones_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
