"""The prior: x = low + span * f_theta(z), an untrained network in data units."""

from __future__ import annotations

import math

from napari_dip.codes import Code, CodeSettings
from napari_dip.networks import NetworkSettings
from napari_dip.problem import Problem
from napari_dip.torch_import import torch


class Prior:
    """Images that the network can make, at the scale of the data.

    `low` and `span` are the mean and the standard deviation of each channel's observed data, so
    that the network's own output is of order one whatever the unit. Sizes that the network cannot
    divide are padded: the code is made larger and the image cut out of the network's output.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (2).
    """

    def __init__(
        self,
        problem: Problem,
        network: NetworkSettings,
        code: CodeSettings,
        *,
        precision: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        device = problem.y.device
        channels, height, width = problem.operator.scene_shape
        self.low, self.span = _location_and_scale(problem.y, problem.observed)
        padded = tuple(_multiple(side, network.divisor) for side in (height, width))
        top, left = ((p - side) // 2 for p, side in zip(padded, (height, width), strict=True))
        self._window = (slice(top, top + height), slice(left, left + width))
        self._precision = precision
        self._code = code.build(padded, generator).to(device)
        with torch.device("meta"):
            module = network.build(code.channels, channels)
        module = module.to_empty(device="cpu")
        _initialise(module, generator)
        self.network = module.to(device, memory_format=torch.channels_last)

    def __call__(self) -> torch.Tensor:
        """The image for the next step's code: (C, H, W) float32 in data units."""
        z = self._code()
        half = self._precision != torch.float32
        with torch.autocast(z.device.type, dtype=self._precision, enabled=half):
            image: torch.Tensor = self.network(z)[0]
        return self.low + self.span * image[:, self._window[0], self._window[1]]


def _location_and_scale(
    y: torch.Tensor, observed: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over the observed pixels of each channel, (C, 1, 1) each.

    A channel with one value, or none, borrows from all channels together.
    """
    shared = y[observed].double()
    low, span = [], []
    for channel, known in zip(y, observed, strict=True):
        own = channel[known].double()
        own = own if own.numel() > 1 and own.std() > 0 else shared
        low.append(own.mean())
        span.append(own.std())
    return (
        torch.stack(low).float()[:, None, None],
        torch.stack(span).float()[:, None, None],
    )


def _multiple(side: int, divisor: int) -> int:
    return max(math.ceil(side / divisor), 2) * divisor


def _initialise(module: torch.nn.Module, generator: torch.Generator) -> None:
    """torch's own default initialisation, drawn from `generator` and not from the global state."""
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
