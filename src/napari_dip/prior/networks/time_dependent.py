"""Time-dependent: one generator for all frames, whose code moves along a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks._time import TemporalNetwork
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class TimeDependent(TemporalNetwork, Hourglass):
    """Frames x_t = f(z_t) of one hourglass; z_t is the code, each channel times what MapNet gives for t.

    At each step some frames are made anew, and the others are taken as they were made last.

    References
    ----------
    .. [1] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337, eq. (4), section III. Differs: an hourglass for a decoder, codes of the frame's
           size times the mapped time for small mapped ones.
    """

    kind: Literal["time-dependent"] = "time-dependent"  # type: ignore[assignment]
    frames_per_step: Annotated[int, Field(ge=1, le=1000)] = 4
    """How many frames are made at each step. [frame]"""

    def build(self, code_channels: int, planes: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch

        generator = super().build(code_channels, ChannelLayout(1, planes.channels, planes.depths))
        mapped = self.mapped_times(planes.times, code_channels)
        times, at_once = planes.times, min(self.frames_per_step, planes.times)

        class Moving(torch.nn.Module):
            """The frames, some of them made anew at each step."""

            def __init__(self) -> None:
                super().__init__()
                self.generator, self.mapped = generator, mapped
                self.step = 0
                self.last: torch.Tensor | None = None

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                moved = z * self.mapped()
                if self.last is None:
                    with torch.no_grad():
                        self.last = self.generator(moved)
                chosen = [(self.step + i * times // at_once) % times for i in range(at_once)]
                self.step += 1
                made = self.generator(moved[chosen])
                frames = self.last.clone()
                frames[chosen] = made
                self.last = frames.detach()
                return frames.flatten(0, 1)[None]

        return Moving()
