"""Low rank: each frame is a mixture of a few images, and the mixture a curve in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks._time import TemporalNetwork
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class LowRank(TemporalNetwork, Hourglass):
    """Frames x_t = sum_r v_r(t) u_r: the images u from one hourglass, v from the time (MapNet).

    References
    ----------
    .. [1] Otazo, Candès, Sodickson, "Low-rank plus sparse matrix decomposition for accelerated dynamic
           MRI", Magn. Reson. Med. 73 (2015) 1125 (why frames of one scene have low rank).
    .. [2] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337, section III (manifold, MapNet).
    """

    kind: Literal["low-rank"] = "low-rank"  # type: ignore[assignment]
    rank: Annotated[int, Field(ge=1, le=256)] = 12
    """Number of images that are mixed. [image]"""

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.prior.networks._temporal import LowRankNet

        images = super().build(in_channels, ChannelLayout(self.rank, layout.channels, layout.depths))
        return LowRankNet(images, self.build_mapnet(layout.times, self.rank))
