"""Images from maps: the last step of a network whose images a signal equation joins."""

from __future__ import annotations

import math

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import ObservationError
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import Signal


class SignalHead(torch.nn.Module):
    """Makes images of maps, which a network makes.

    The network has one output for the parameter, as sigmoid of the logarithm within its range, and one
    for each quantity that the signal is linear in.

    Parameters
    ----------
    network : torch.nn.Module
        From its input to (1, (1 + L) G, H, W), for G images of each contrast.
    signal : Signal
        The equation.

    References
    ----------
    .. [1] Hellstrom, Lofstedt, Garpebring, "Denoising and uncertainty estimation in parameter mapping
           with approximate Bayesian deep image priors", Magn. Reson. Med. 90 (2023) 2557.
    """

    def __init__(self, network: torch.nn.Module, signal: Signal) -> None:
        super().__init__()
        self.network, self._signal = network, signal
        _, _, low, high = signal.parameter
        self._low, self._span = math.log(low), math.log(high / low)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the images (1, contrasts * G, H, W), in the order of the contrasts."""
        output = self.network(z)[0].float()
        output = output.reshape(1 + len(self._signal.linear), -1, *output.shape[1:])
        value = torch.exp(self._low + self._span * output[0].sigmoid())
        images = self._signal.signal(value, output[1:])
        stacked: torch.Tensor = images.reshape(1, -1, *images.shape[2:])
        return stacked


def layout_of_maps(signal: Signal, layout: ChannelLayout) -> ChannelLayout:
    """Return what the outputs of the network stand for, if `layout` is that of the images.

    Raises
    ------
    ObservationError
        If the images are not restored jointly.
    """
    if layout.times != signal.num_contrasts:
        raise ObservationError(
            f"the equation joins {signal.num_contrasts} images, and {layout.times} are restored jointly"
            " along T: set stack.joint_axes to T, and stack.window_length to their number"
        )
    return ChannelLayout(1 + len(signal.linear), layout.channels, layout.depths, layout.z_spacing)
