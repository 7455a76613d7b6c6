"""The prior: the images x that an untrained network f_theta(z) can make, at the scale of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.physics.data_consistency import wiener_estimate
from napari_dip.physics.filters import normalized_convolution
from napari_dip.physics.problem import Problem
from napari_dip.physics.signals import Signal
from napari_dip.prior.initialization import Weights, copy_weights, initialize, same_shapes
from napari_dip.prior.inputs import InputContext, InputSettings, NetworkInput
from napari_dip.prior.networks import NetworkSettings
from napari_dip.prior.output_scale import Output, OutputScale
from napari_dip.prior.self_supervision import SelfSupervision, Split, Splitter

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class PriorSettings:
    """The settings that a prior is built from."""

    network: NetworkSettings
    network_input: InputSettings
    output: Output
    self_supervision: SelfSupervision
    signal: Signal


class Prior:
    """Images that the network can make.

    The network's own output is of order one, whatever the unit of the data, and only the prior is
    stretched: the likelihood is in data units. Sizes that the network cannot divide are padded: its
    input is larger, and the image is cut out of its output.

    Attributes
    ----------
    network : torch.nn.Module
        f_theta.
    scale : OutputScale
        The map from its output to data units.
    generators : list of torch.Generator
        Sources of the random numbers of each step.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (2).
    """

    def __init__(
        self,
        problem: Problem,
        network: torch.nn.Module,
        scale: OutputScale,
        inputs: _Inputs,
        window: Slices,
    ) -> None:
        self.network, self.scale, self.generators = network, scale, inputs.generators
        self._problem, self._inputs, self._window = problem, inputs, window

    @classmethod
    def build(
        cls,
        problem: Problem,
        data: FitData,
        settings: PriorSettings,
        *,
        precision: torch.dtype,
        generator: torch.Generator,
        start: Weights | None = None,
    ) -> Prior:
        """Return a prior for `problem`, with random weights.

        Parameters
        ----------
        problem : Problem
            What its images have to explain.
        data : FitData
            The data of the problem, for their auxiliary data.
        settings : PriorSettings
            Network, network input, output, self-supervision and signal equation.
        precision : torch.dtype
            Number format inside the network: float32 or bfloat16.
        generator : torch.Generator
            Source of all random numbers, on the CPU.
        start : Weights, optional
            Weights of another prior's network to start from, if they fit.
        """
        network, device = settings.network, problem.y.device
        joins_images = settings.signal.kind != "none"
        scale = OutputScale.from_data(problem, settings.output, is_common=joins_images)
        _, height, width = problem.operator.scene_shape
        padded = tuple(_round_up(side, network.size_multiple) for side in (height, width))
        top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
        window = (slice(top, top + height), slice(left, left + width))
        downsampling = network.input_downsampling
        context = InputContext(
            shape=(padded[0] // downsampling, padded[1] // downsampling),
            window=_compose_slices(window, problem.operator.valid_region),
            downsampling=downsampling,
            depths=problem.scene_layout.depths if network.is_3d else 1,
            data=data,
            noise_level=scale.noise_level(problem.scene_noise_std),
        )
        fixed = settings.network_input.build(context, generator).to(device)
        splitter = settings.self_supervision.splitter(problem, downsampling, generator)
        margins = (left, padded[1] - width - left, top, padded[0] - height - top)
        inputs = _Inputs(problem, scale, fixed, splitter, context.depths, margins, precision)
        layout = problem.scene_layout
        if joins_images:
            from napari_dip.prior.signal_head import SignalHead, layout_of_maps  # which loads torch

            layout = layout_of_maps(settings.signal, layout)
        with torch.device("meta"):
            module = network.build(inputs.channels, layout)
            module = SignalHead(module, settings.signal) if joins_images else module
        module = module.to_empty(device="cpu")
        initialize(module, generator)
        if start is not None and same_shapes(start, module.state_dict()):
            module.load_state_dict(start)
        module = module.to(device).to(memory_format=network.memory_format)  # type: ignore[call-overload]
        return cls(problem, module, scale, inputs, window)

    def weights(self) -> Weights:
        """Return a copy of the weights."""
        return copy_weights(self.network)

    def __call__(self, x: torch.Tensor | None = None) -> tuple[torch.Tensor, Problem]:
        """Return the image for the next input, and the problem that it has to solve.

        Parameters
        ----------
        x : (C, H, W) tensor, optional
            The scene as far as it is known, which determines the strength of the noise.

        Returns
        -------
        image : (C, H, W) float32
            In data units.
        target : Problem
            The problem itself, or that of the part of the data that the input does not show.
        """
        z, target = self._inputs.next(x)
        with torch.autocast(z.device.type, dtype=z.dtype, enabled=z.dtype != torch.float32):
            output: torch.Tensor = self.network(z)[0]
        image = self.scale.to_data_units(output)
        return image[:, self._window[0], self._window[1]], target


class _Inputs:
    """What the network is given at each step: its fixed input, and a part of the data."""

    def __init__(
        self,
        problem: Problem,
        scale: OutputScale,
        fixed: NetworkInput,
        splitter: Splitter | None,
        depths: int,
        margins: tuple[int, int, int, int],
        precision: torch.dtype,
    ) -> None:
        self._problem, self._scale, self._fixed, self._splitter = problem, scale, fixed, splitter
        self._depths, self._margins = depths, margins
        self.generators = [fixed.generator, *([splitter.generator] if splitter else [])]
        self._complete = bool(problem.observed.all())
        full_coverage = problem.operator.coverage(torch.ones_like(problem.observed))
        self._half_coverage = 0.5 * full_coverage.median()
        _, channels, *sides = fixed.shape
        self._fixed_channels = channels
        self.channels = channels + (problem.operator.scene_shape[0] + depths if splitter else 0)
        self._z = torch.empty(
            (1, self.channels, *sides),
            dtype=precision,
            device=problem.y.device,
            memory_format=torch.channels_last,
        )

    def next(self, x: torch.Tensor | None) -> tuple[torch.Tensor, Problem]:
        """Return the input of the next step, and the problem that its image has to solve."""
        z, target = self._z, self._problem
        self._fixed.write_next(z[:, : self._fixed_channels])
        if self._splitter:
            split = self._splitter(x)
            target = split.target
            z[:, self._fixed_channels :] = self._observed_channels(split)
        return z, target

    def _observed_channels(self, split: Split) -> torch.Tensor:
        """The data as input, (1, C + 1, Y, X); the last channel marks where they are known.

        A network that convolves along Z has one such channel for each depth.
        """
        data, operator = split.input, self._problem.operator
        if operator.is_identity:
            known, image = data.observed[0], self._scale.to_network_units(data.y[0])
            if not (self._complete and data.observed is self._problem.observed):
                weights = data.observed.float()[0]
                image = normalized_convolution(weights * image, weights, known)
        else:
            known = operator.coverage(data.observed) > self._half_coverage
            image = self._scale.to_network_units(wiener_estimate(data))
        known = known.float().reshape(-1, self._depths, *known.shape[1:]).mean(dim=0)
        channels = torch.cat((image, known))
        return torch.nn.functional.pad(channels[None], self._margins, mode="replicate")


def _compose_slices(outer: Slices, inner: Slices) -> Slices:
    """`inner`, which counts from the start of `outer`, in the coordinates of `outer`."""
    rows, columns = (
        slice(*(o.start + edge for edge in i.indices(o.stop - o.start)[:2]))
        for o, i in zip(outer, inner, strict=True)
    )
    return rows, columns


def _round_up(side: int, multiple: int) -> int:
    return max(math.ceil(side / multiple), 2) * multiple
