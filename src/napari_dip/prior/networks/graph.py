"""The graph image prior: a generator for each frame, refined over the frames that are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.prior.networks.hourglass import Hourglass

if TYPE_CHECKING:
    import torch


class GraphPrior(Hourglass):
    """Frames from generators of their own, and what each can learn of the frames nearest to it.

    First the generators learn alone, all from one code. Then their features are refined by convolutions
    over those of the nearest frames, on a graph that is made anew as they learn; at first with the
    generators held, then jointly. No order in time is known: for beats of unequal length.

    References
    ----------
    .. [1] Li et al., "Graph image prior for unsupervised dynamic cardiac cine MRI reconstruction",
           arXiv 2403.15770, section 3. Differs: unless `generator` is own, the generators share all but
           their last layer; features that are compared are means over cells, not convolved again; the
           refinement is added to the generators' image and comes in gradually; fewer channels.
    """

    kind: Literal["graph"] = "graph"  # type: ignore[assignment]
    channels: Annotated[int, Field(ge=4, le=256)] = 64
    """Width of every scale of the generator that is shared. [channel]"""
    generator: Literal["shared", "own"] = "shared"
    """One hourglass whose last layer alone is each frame's, which learns sooner; or a decoder of its own
    for each frame, from one code of 1 / 2^depth of the image's size."""
    channels_per_frame: Annotated[int, Field(ge=2, le=256)] = 8
    """Features of each frame that are refined; every scale's of its own decoder. [channel]"""
    num_neighbors: Annotated[int, Field(ge=1, le=64)] = 4
    """How many frames refine each: itself, and those that are most like it. [frame]"""
    pretrain_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Steps in which the generators learn alone. [step]"""
    frozen_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """Steps after those in which only the refinement learns. [step]"""
    graph_interval: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Steps after which the graph is made anew. [step]"""

    @property
    def input_downsampling(self) -> int:
        return int(2**self.depth) if self.generator == "own" else 1

    def build(self, code_channels: int, planes: ChannelLayout) -> torch.nn.Module:
        from napari_dip.core.torch_import import torch
        from napari_dip.prior.networks._layers import Float32, normalization

        times, width, settings = planes.times, self.channels_per_frame, self
        near = min(self.num_neighbors, times)

        def apart(inputs: int, outputs: int) -> torch.nn.Sequential:
            """A convolution for each frame, which sees no other frame's channels."""
            return torch.nn.Sequential(
                torch.nn.Conv2d(times * inputs, times * outputs, 3, padding=1, groups=times),
                torch.nn.ELU(inplace=True),
                normalization(times * outputs),
            )

        def each_frame(features: torch.Tensor) -> torch.Tensor:
            return features.reshape(times, -1, *features.shape[2:])

        def own() -> torch.nn.Sequential:
            first = torch.nn.Conv2d(code_channels, times * width, 3, padding=1)
            layers: list[torch.nn.Module] = [first, torch.nn.ELU(inplace=True)]
            for _ in range(settings.depth):
                layers += [
                    torch.nn.Upsample(scale_factor=2, mode="bilinear"),
                    apart(width, width),
                ]
            return torch.nn.Sequential(*layers)

        shared = self.generator == "shared"
        generators = super().build(code_channels, ChannelLayout(times, width, 1)) if shared else own()

        class Graph(torch.nn.Module):
            """Generators, refinement, and the step at which they are."""

            def __init__(self) -> None:
                super().__init__()
                self.generators = generators
                self.head = Float32(torch.nn.Conv2d(times * width, planes.num_planes, 1, groups=times))
                self.aggregate = apart(near * width, width)
                self.update = apart(2 * width, width)
                self.last = Float32(torch.nn.Conv2d(width, planes.num_planes // times, 1))
                self.step = 0
                self.graph: torch.Tensor | None = None

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                features = self.generators(z)
                image: torch.Tensor = self.head(features)
                step, self.step = self.step - settings.pretrain_steps, self.step + 1
                if step < 0:
                    return image
                if step % settings.graph_interval == 0 or self.graph is None:
                    self.graph = nearest_frames(each_frame(features.detach()), near)
                if step < settings.frozen_steps:
                    image, features = image.detach(), features.detach()
                share = min(1.0, (step + 1) / settings.graph_interval)
                return image + share * self.refined(features)

            def refined(self, features: torch.Tensor) -> torch.Tensor:
                each = each_frame(features)
                around = each_frame(self.aggregate(each[self.graph].flatten(0, 2)[None]))
                updated = self.update(torch.cat((each, around), dim=1).flatten(0, 1)[None])
                seen: torch.Tensor = self.last(each + each_frame(updated))
                return seen.flatten(0, 1)[None]

        return Graph()


def nearest_frames(features: torch.Tensor, num_neighbors: int) -> torch.Tensor:
    """The frames most like each one, itself first: (T, number) indices, of (T, C, Y, X) features.

    By the cosine of what differs from the mean over time, averaged over 8 x 8 cells.
    """
    from napari_dip.core.torch_import import torch

    cells = torch.nn.functional.adaptive_avg_pool2d(features.float(), 8)
    apart = torch.nn.functional.normalize((cells - cells.mean(dim=0)).flatten(1), dim=1)
    likeness = apart @ apart.T
    likeness.fill_diagonal_(torch.inf)
    return likeness.topk(num_neighbors, dim=1).indices
