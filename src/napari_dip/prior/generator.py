"""The prior: x = low + span * f_theta(z), an untrained network in data units, curved for stars."""

from __future__ import annotations

import math

from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import normalized_convolution
from napari_dip.physics.problem import Problem
from napari_dip.prior.initialization import Weights, initialize, same_shapes
from napari_dip.prior.inputs import InputContext, InputSettings
from napari_dip.prior.networks import NetworkSettings
from napari_dip.prior.output_scale import Output, choose_stretch, location_and_scale, noise_growth
from napari_dip.prior.self_supervision import SelfSupervision, Split


class Prior:
    """Images that the network can make, at the scale of the data.

    On the linear scale x = low + span * f, with the mean and the standard deviation of each
    channel's observed data; on the sinh scale x = background + s * sinh(low + span * f), with s ten
    times the noise and the mean and standard deviation of asinh((y - background) / s). Either way
    the network's own output is of order one whatever the unit, and only the prior is curved: the
    likelihood stays in data units. The scene's values are taken to be the data's, divided by the
    gain of A. The network begins with random weights, or with those of another prior's network, `start`,
    where they fit. Sizes that the network cannot divide are padded: the code is made larger and the
    image cut out of the network's output.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (2).
    """

    def __init__(
        self,
        problem: Problem,
        frame: Observation,
        network: NetworkSettings,
        code: InputSettings,
        output: Output,
        recorruption: SelfSupervision,
        *,
        precision: torch.dtype,
        generator: torch.Generator,
        start: Weights | None = None,
    ) -> None:
        device = problem.y.device
        channels, height, width = problem.operator.scene_shape
        values, observed = problem.scaled_data()
        noise = problem.scene_noise_std
        self._stretch = choose_stretch(values, observed, noise, output, noise_growth(problem))
        flat = self._stretch.forward(values[:, None])[:, 0] if self._stretch else values
        self.offset, self.scale = location_and_scale(flat, observed)
        padded = _round_up(height, network.size_multiple), _round_up(width, network.size_multiple)
        top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
        self._window = (slice(top, top + height), slice(left, left + width))
        self._smoothing = _gaussian_kernel(output.min_fwhm).to(device) if output.min_fwhm else None
        canvas = InputContext(
            shape=(padded[0] // network.input_downsampling, padded[1] // network.input_downsampling),
            window=_compose_slices(self._window, problem.operator.valid_region),
            downsampling=network.input_downsampling,
            depths=problem.scene_layout.depths if network.is_3d else 1,
            data=frame,
            noise_level=self._noise_level(noise),
        )
        self._problem, self._complete = problem, bool(problem.observed.all())
        self._input = code.build(canvas, generator).to(device)
        self._splitter = recorruption.splitter(problem, network.input_downsampling, generator)
        self._half_coverage = 0.5 * problem.operator.coverage(torch.ones_like(problem.observed)).median()
        self._margins = (left, padded[1] - width - left, top, padded[0] - height - top)
        _, inputs, *sides = self._input.shape
        self._depths = canvas.depths
        inputs += channels + canvas.depths if self._splitter else 0
        self._inputs = torch.empty(
            (1, inputs, *sides), dtype=precision, device=device, memory_format=torch.channels_last
        )
        with torch.device("meta"):
            module = network.build(inputs, problem.scene_layout)
        module = module.to_empty(device="cpu")
        initialize(module, generator)
        if start is not None and same_shapes(start, module.state_dict()):
            module.load_state_dict(start)
        self.network = module.to(device).to(memory_format=network.memory_format)  # type: ignore[call-overload]

    def _noise_level(self, noise: torch.Tensor) -> float:
        """The noise's standard deviation at the background, in the network's output."""
        scale = self._stretch.softening if self._stretch else 1.0
        return float((noise / scale / self.scale).median())

    def weights(self) -> Weights:
        """A copy of what the network has learnt."""
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def __call__(self, x: torch.Tensor | None = None) -> tuple[torch.Tensor, Problem]:
        """The image for the next step's code, and the problem that it has to solve.

        `x` is the scene as far as it is known, (C, H, W): it says how strong the noise is.

        Returns
        -------
        image : (C, H, W) float32
            In data units.
        asked : Problem
            The problem itself, or what is left of it where the code holds a part of the data.
        """
        z, asked, own = self._inputs, self._problem, self._input.shape[1]
        self._input.write_next(z[:, :own])
        if self._splitter:
            halves = self._splitter(x)
            asked = halves.target
            z[:, own:] = self._observed_channels(halves)
        with torch.autocast(z.device.type, dtype=z.dtype, enabled=z.dtype != torch.float32):
            image: torch.Tensor = self.network(z)[0]
        return self._to_data_units(image), asked

    def _observed_channels(self, halves: Split) -> torch.Tensor:
        """What the network is given of the data: (1, C + 1, Y, X), the last where they are known.

        Of a volume that is as many as there are depths.
        """
        given, operator = halves.input, self._problem.operator
        shown = given.observed.float()
        if operator.is_identity:
            known, picture = given.observed[0], self._to_network_units(given.y[0])
            if not (self._complete and given.observed is self._problem.observed):
                picture = normalized_convolution(shown[0] * picture, shown[0], known)
        else:
            known = operator.coverage(given.observed) > self._half_coverage
            picture = self._to_network_units(given.wiener_estimate())
        known = known.float().reshape(-1, self._depths, *known.shape[1:]).mean(dim=0)
        picture = torch.cat((picture, known))
        return torch.nn.functional.pad(picture[None], self._margins, mode="replicate")

    def _to_network_units(self, x: torch.Tensor) -> torch.Tensor:
        """`x` (C, Y, X) from data units to the network's."""
        return ((self._stretch.forward(x) if self._stretch else x) - self.offset) / self.scale

    def _to_data_units(self, image: torch.Tensor) -> torch.Tensor:
        x = self.offset + self.scale * image
        x = self._stretch.inverse(x) if self._stretch else x
        if self._smoothing is not None:
            reach = len(self._smoothing) // 2
            x = torch.nn.functional.pad(x[:, None], 4 * (reach,), mode="replicate")
            x = torch.nn.functional.conv2d(x, self._smoothing[None, None, :, None])
            x = torch.nn.functional.conv2d(x, self._smoothing[None, None, None, :])[:, 0]
        return x[:, self._window[0], self._window[1]]


def _gaussian_kernel(fwhm: float) -> torch.Tensor:
    """A Gaussian along one axis, of sum 1."""
    deviation = fwhm / math.sqrt(8 * math.log(2))
    half = math.ceil(3.5 * deviation)
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1) / deviation) ** 2)
    return line / line.sum()


def _compose_slices(outer: tuple[slice, slice], inner: tuple[slice, slice]) -> tuple[slice, slice]:
    """`inner`, which counts from the start of `outer`, as `outer` counts."""
    rows, columns = (
        slice(*(o.start + edge for edge in i.indices(o.stop - o.start)[:2]))
        for o, i in zip(outer, inner, strict=True)
    )
    return rows, columns


def _round_up(side: int, divisor: int) -> int:
    return max(math.ceil(side / divisor), 2) * divisor
