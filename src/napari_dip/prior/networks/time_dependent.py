"""Time-dependent: one generator for all frames, whose input moves along a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks._time import TemporalNetwork
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class TimeDependent(TemporalNetwork, Hourglass):
    """Frames x_t = f(z_t) of one hourglass; each channel of z_t is z times what MapNet gives for t.

    At each step some frames are computed anew; the others are kept as they were computed last.

    References
    ----------
    .. [1] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337, eq. (4), section III. Differs: an hourglass instead of a decoder, inputs of the
           size of the frame times the mapped time instead of small mapped ones.
    """

    kind: Literal["time-dependent"] = "time-dependent"  # type: ignore[assignment]
    frames_per_step: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of frames that are computed at each step. [frame]"""

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.prior.networks._temporal import TimeDependentNet

        times = layout.times
        generator = super().build(in_channels, ChannelLayout(1, layout.channels, layout.depths))
        mapped = self.build_mapnet(times, in_channels)
        return TimeDependentNet(generator, mapped, times, min(self.frames_per_step, times))
