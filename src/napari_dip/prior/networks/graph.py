"""The graph image prior: a generator for each frame, refined over the frames most similar to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class GraphPrior(Hourglass):
    """Frames from generators of their own, refined over the frames nearest to each.

    The generators are pretrained, all from one input. Then their features are refined by convolutions
    over those of the nearest frames, on a graph that is rebuilt during the fit; first with frozen
    generators, then jointly. No order in time is assumed: for beats of unequal length.

    References
    ----------
    .. [1] Li et al., "Graph image prior for unsupervised dynamic cardiac cine MRI reconstruction",
           arXiv 2403.15770, section 3. Differs: unless `generator` is own, the generators share all but
           their last layer; features that are compared are means over cells, not convolved again; the
           refinement is added to the image of the generators and is faded in; fewer channels.
    """

    kind: Literal["graph"] = "graph"  # type: ignore[assignment]
    channels: Annotated[int, Field(ge=4, le=256)] = 64
    """Width of every scale of the shared generator. [channel]"""
    generator: Literal["shared", "own"] = "shared"
    """Shared: one hourglass with a last layer for each frame, which learns faster. Own: a decoder for
    each frame, from one input of 1 / 2^depth of the size of the image."""
    channels_per_frame: Annotated[int, Field(ge=2, le=256)] = 8
    """Features of each frame that are refined, and of every scale of its own decoder. [channel]"""
    num_neighbors: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of frames that refine each: itself, and those most similar to it. [frame]"""
    pretrain_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Steps in which only the generators are trained. [step]"""
    frozen_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """Steps after the pretraining in which only the refinement is trained. [step]"""
    graph_interval: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Steps between two constructions of the graph. [step]"""

    @property
    def input_downsampling(self) -> int:
        return int(2**self.depth) if self.generator == "own" else 1

    def build(self, in_channels: int, layout: ChannelLayout) -> torch.nn.Module:
        from napari_dip.prior.networks._graph import GraphNet, separate_decoders

        features = ChannelLayout(layout.times, self.channels_per_frame, 1)
        if self.generator == "shared":
            generators = super().build(in_channels, features)
        else:
            generators = separate_decoders(in_channels, features, self.depth)
        return GraphNet(self, generators, layout)
