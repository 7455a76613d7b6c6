"""The amortized prior: one small network for all places of an image."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Self

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import normalized_convolution
from napari_dip.physics.problem import Problem
from napari_dip.physics.windows import ORIENTATIONS, Windows, orient, orient_back
from napari_dip.prior.initialization import Weights, copy_weights, initialize, same_shapes
from napari_dip.prior.output_scale import Output, OutputScale
from napari_dip.prior.self_supervision import SelfSupervision

CELL_PX = 128  # side of the squares that have random numbers of their own, wherever tiles begin
LARGE_RANGE_SIGMAS = 40  # noise sigmas of the brightest pixel, from which asinh gains 0.5 dB
DEFAULT_ALPHA = 0.7  # of the self-supervision: more noise is better where there are more pixels
MIN_NOISE_CONTRAST = 1.05  # of a noise map: with less the network need not know it
MAX_LOG_NOISE = 3.0  # of a pixel over the median


class AmortizedPrior:
    """Images that one network makes of the data, each pixel from its neighborhood.

    A deep image prior fits a network to the whole image, pixel after pixel of its input. Here the
    network has no input but the data, recorrupted or masked, and is the same everywhere. So it can be
    fitted to random crops, and what it learned of them holds for the whole.

    Attributes
    ----------
    network : torch.nn.Module
        From (N, channels, H, W) to (N, C, H, W).
    scale : OutputScale
        The map from its output to data units.
    is_warm : bool
        Whether the network was fitted to another image before.
    """

    def __init__(
        self,
        problem: Problem,
        output: Output,
        self_supervision: SelfSupervision,
        *,
        precision: torch.dtype,
        generator: torch.Generator,
        start: Weights | None = None,
    ) -> None:
        from napari_dip.prior.networks._local import LocalUNet

        if self_supervision.alpha is None:
            self_supervision = self_supervision.model_copy(update={"alpha": DEFAULT_ALPHA})
        self._supervision, self._precision = self_supervision, precision
        self.scale = OutputScale.from_data(problem, output, LARGE_RANGE_SIGMAS)
        sigma = problem.likelihood.properties.sigma
        self._median_noise = problem.likelihood.properties.median_sigma
        self._has_noise_map = sigma.shape[-2:] != (1, 1) and _contrast(sigma) > MIN_NOISE_CONTRAST
        is_masked = self_supervision.select_method(problem, 1) == "masked"
        self._missing_share = problem.missing_share
        self._has_mask = is_masked or self._missing_share > 0
        channels = problem.y.shape[1]
        inputs = channels + self._has_noise_map * channels + self._has_mask
        with torch.device("meta"):
            network = LocalUNet(inputs, channels)
        network = network.to_empty(device="cpu")
        initialize(network, generator)
        torch.nn.init.zeros_(network.head.weight)
        assert network.head.bias is not None
        torch.nn.init.zeros_(network.head.bias)
        self.is_warm = start is not None and same_shapes(start, network.state_dict())
        if start is not None and self.is_warm:
            network.load_state_dict(start)
        self.network = network.to(problem.y.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def weights(self) -> Weights:
        """Return a copy of the weights."""
        return copy_weights(self.network)

    def to(self, device: torch.device) -> Self:
        """Return the same prior on another device."""
        moved = copy.copy(self)
        moved.network, moved.scale = copy.deepcopy(self.network).to(device), self.scale.to(device)
        return moved

    def split(self, crops: Problem, generator: torch.Generator) -> tuple[Problem, Problem]:
        """Return two parts of the data of `crops` with independent noise: the input, and the target.

        Crops that show too little to spare any of it are both.
        """
        share = self._missing_share
        splitter = self._supervision.splitter(crops, 1, generator, missing_share=share)
        if splitter is None:
            return crops, crops
        parts = splitter(None)
        return parts.input, parts.target

    def __call__(self, data: Problem) -> torch.Tensor:
        """Return images (N, C, H, W) of the data (N, C, H, W), in data units."""
        return self.scale.to_data_units(self._run_network(self._input(data)))

    @torch.no_grad()
    def estimate(self, problem: Problem, corner: tuple[int, int], seed: int) -> Iterator[torch.Tensor]:
        """Yield one estimate (C, H, W) of the scene of `problem` for each orientation.

        Parameters
        ----------
        problem : Problem
            A part of the whole, whose sides are multiples of 8 except at the end of the whole.
        corner : (row, column)
            Its place in the whole, in multiples of `CELL_PX`: the same pixel gets the same random
            numbers in every part that contains it.
        seed : int
            Of the random numbers.
        """
        height, width = problem.y.shape[-2:]
        cells = [
            (top, left, _cell(problem, top, left))
            for top in range(0, height, CELL_PX)
            for left in range(0, width, CELL_PX)
        ]
        for orientation in range(ORIENTATIONS):
            z = None
            for top, left, cell in cells:
                place = (corner[0] + top) // CELL_PX, (corner[1] + left) // CELL_PX
                generator = torch.Generator().manual_seed(_cell_seed(seed, *place, orientation))
                data, _ = self.split(cell, generator)
                part = self._input(data)
                z = part.new_empty((1, part.shape[1], height, width)) if z is None else z
                z[..., top : top + CELL_PX, left : left + CELL_PX] = part
            assert z is not None
            yield self._oriented(z, orientation)

    def _oriented(self, z: torch.Tensor, orientation: int) -> torch.Tensor:
        """The image (C, H, W) that the network makes of an input in one orientation."""
        from napari_dip.prior.networks._local import SIZE_MULTIPLE

        height, width = z.shape[-2:]
        below, right = -height % SIZE_MULTIPLE, -width % SIZE_MULTIPLE
        z = torch.nn.functional.pad(z, (0, right, 0, below), mode="replicate")
        z = orient(z, orientation).contiguous(memory_format=torch.channels_last)
        image = orient_back(self._run_network(z), orientation)
        return self.scale.to_data_units(image[0, :, :height, :width])

    def _run_network(self, z: torch.Tensor) -> torch.Tensor:
        is_mixed = self._precision != torch.float32
        with torch.autocast(z.device.type, dtype=self._precision, enabled=is_mixed):
            output: torch.Tensor = self.network(z)
        return output

    def _input(self, data: Problem) -> torch.Tensor:
        """The data, and what is known of them, in the units of the network."""
        known = data.observed
        image = self.scale.to_network_units(data.y)
        if self._has_mask:
            weights = known.float()
            image = normalized_convolution(weights * image, weights, known)
        channels = [image]
        if self._has_noise_map:
            ratio = data.likelihood.random_std(data.y).expand_as(data.y) / self._median_noise
            log_ratio = torch.where(known & (ratio > 0), ratio, 1.0).log()
            channels.append(log_ratio.clamp(-MAX_LOG_NOISE, MAX_LOG_NOISE))
        if self._has_mask:
            channels.append(known.float().mean(dim=1, keepdim=True))
        return torch.cat(channels, dim=1).contiguous(memory_format=torch.channels_last)


def _cell(problem: Problem, top: int, left: int) -> Problem:
    """A cell of a problem, smaller at the border."""
    height, width = (
        min(CELL_PX, n - at) for n, at in zip(problem.y.shape[-2:], (top, left), strict=True)
    )
    return problem.crops(Windows(((top, left),), (height, width), (0,)))


def _cell_seed(seed: int, row: int, column: int, orientation: int) -> int:
    return int(np.random.SeedSequence([seed, row, column, orientation]).generate_state(1)[0] // 2)


def _contrast(sigma: FloatArray) -> float:
    """The ratio of a large to a small value of a noise map."""
    low, high = np.nanquantile(np.where(sigma > 0, sigma, np.nan), (0.05, 0.95))
    return float(high / low)
