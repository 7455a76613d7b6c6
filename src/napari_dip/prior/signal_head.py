"""Images from maps: the last step of a network whose images a signal equation joins."""

from __future__ import annotations

import math

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import Signal


class SignalHead(torch.nn.Module):
    """Makes images of maps, which a network makes.

    The network has one output for the parameter, as sigmoid of the logarithm within its range, and one
    for each quantity that the signal is linear in. Real and imaginary parts share the parameter.

    Parameters
    ----------
    network : torch.nn.Module
        From its input to (1, (1 + L P) G, H, W), for G images of each contrast that have P parts.
    signal : Signal
        The equation.
    num_parts : int
        P: 2 for complex images, 1 for others.

    References
    ----------
    .. [1] Hellstrom, Lofstedt, Garpebring, "Denoising and uncertainty estimation in parameter mapping
           with approximate Bayesian deep image priors", Magn. Reson. Med. 90 (2023) 2557.
    """

    def __init__(self, network: torch.nn.Module, signal: Signal, num_parts: int) -> None:
        super().__init__()
        self.network, self._signal, self._num_parts = network, signal, num_parts
        _, _, low, high = signal.parameter
        self._low, self._span = math.log(low), math.log(high / low)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the images (1, contrasts * P * G, H, W), in the order of the contrasts."""
        output, num_linear = self.network(z)[0].float(), len(self._signal.linear)
        output = output.reshape(1 + num_linear * self._num_parts, -1, *output.shape[1:])
        value = torch.exp(self._low + self._span * output[0].sigmoid()).repeat(self._num_parts, 1, 1)
        images = self._signal.signal(value, output[1:].reshape(num_linear, *value.shape))
        stacked: torch.Tensor = images.reshape(1, -1, *images.shape[2:])
        return stacked


def layout_of_maps(signal: Signal, layout: ChannelLayout, num_parts: int) -> ChannelLayout:
    """Return what the outputs of the network stand for, if `layout` is that of the images, whose
    channels are `num_parts` parts of each.

    Raises
    ------
    ObservationError
        If the images are not restored jointly.
    SettingsError
        If they are complex, and the equation is one of magnitudes.
    """
    if num_parts > 1 and signal.is_of_magnitudes:
        raise SettingsError(
            f"the equation '{signal.kind}' is one of magnitudes, and k-space has complex images:"
            " reconstruct them first, and map their magnitudes",
            setting="signal.kind",
        )
    if layout.times != signal.num_contrasts:
        raise ObservationError(
            f"the equation joins {signal.num_contrasts} images, and {layout.times} are restored jointly"
            " along T: set stack.joint_axes to T, and stack.window_length to their number"
        )
    number = 1 + num_parts * len(signal.linear)
    return ChannelLayout(number, layout.channels // num_parts, layout.depths, layout.z_spacing)
