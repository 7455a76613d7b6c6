"""Low rank: each frame is a mixture of a few pictures, and the mixture a curve in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks._time import TemporalNetwork
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class LowRank(TemporalNetwork, Hourglass):
    """Frames x_t = sum_r v_r(t) u_r: the pictures u from one hourglass, v from the time (MapNet).

    References
    ----------
    .. [1] Otazo, Candès, Sodickson, "Low-rank plus sparse matrix decomposition for accelerated dynamic
           MRI", Magn. Reson. Med. 73 (2015) 1125 (why frames of one scene have few pictures).
    .. [2] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337, section III (manifold, MapNet).
    """

    kind: Literal["low-rank"] = "low-rank"  # type: ignore[assignment]
    rank: Annotated[int, Field(ge=1, le=256)] = 12
    """How many pictures are mixed. [picture]"""

    def build(self, code_channels: int, planes: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch

        pictures = super().build(code_channels, ChannelLayout(self.rank, planes.channels, planes.depths))
        mixture = self.mapped_times(planes.times, self.rank)

        class Mixed(torch.nn.Module):
            """The pictures, mixed for each time."""

            def __init__(self) -> None:
                super().__init__()
                self.pictures, self.mixture = pictures, mixture

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                u = self.pictures(z)[0].unflatten(0, (mixture_rank, -1))
                v = self.mixture()[:, :, 0, 0]
                return torch.einsum("tr,rcyx->tcyx", v, u).flatten(0, 1)[None]

        mixture_rank = self.rank
        return Mixed()
