"""The torch module of the graph image prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.torch_import import torch
from napari_dip.prior.networks._layers import Float32, normalization

if TYPE_CHECKING:
    from napari_dip.prior.networks.graph import GraphPrior


class GraphNet(torch.nn.Module):
    """Generators of frames, a refinement over the nearest frames, and the step they are at."""

    def __init__(self, settings: GraphPrior, generators: torch.nn.Module, layout: ChannelLayout) -> None:
        super().__init__()
        times, width = layout.times, settings.channels_per_frame
        self._settings, self._times = settings, times
        self._num_neighbors = min(settings.num_neighbors, times)
        self.generators = generators
        self.head = Float32(torch.nn.Conv2d(times * width, layout.num_planes, 1, groups=times))
        self.aggregate = separate_conv(times, self._num_neighbors * width, width)
        self.update = separate_conv(times, 2 * width, width)
        self.last = Float32(torch.nn.Conv2d(width, layout.num_planes // times, 1))
        self.step = 0
        self.graph: torch.Tensor | None = None

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        features, settings = self.generators(z), self._settings
        image: torch.Tensor = self.head(features)
        step, self.step = self.step - settings.pretrain_steps, self.step + 1
        if step < 0:
            return image
        if step % settings.graph_interval == 0 or self.graph is None:
            self.graph = nearest_frames(self._by_frame(features.detach()), self._num_neighbors)
        if step < settings.frozen_steps:
            image, features = image.detach(), features.detach()
        share = min(1.0, (step + 1) / settings.graph_interval)
        return image + share * self._refine(features)

    def _refine(self, features: torch.Tensor) -> torch.Tensor:
        frames = self._by_frame(features)
        neighbors = self._by_frame(self.aggregate(frames[self.graph].flatten(0, 2)[None]))
        updated = self.update(torch.cat((frames, neighbors), dim=1).flatten(0, 1)[None])
        refined: torch.Tensor = self.last(frames + self._by_frame(updated))
        return refined.flatten(0, 1)[None]

    def _by_frame(self, features: torch.Tensor) -> torch.Tensor:
        return features.reshape(self._times, -1, *features.shape[2:])


def separate_conv(times: int, inputs: int, outputs: int) -> torch.nn.Sequential:
    """Return a convolution for each frame, which sees the channels of no other frame."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(times * inputs, times * outputs, 3, padding=1, groups=times),
        torch.nn.ELU(inplace=True),
        normalization(times * outputs),
    )


def separate_decoders(inputs: int, layout: ChannelLayout, depth: int) -> torch.nn.Sequential:
    """Return a decoder for each frame, from one input; `layout.channels` features each."""
    times, width = layout.times, layout.channels
    layers: list[torch.nn.Module] = [
        torch.nn.Conv2d(inputs, times * width, 3, padding=1),
        torch.nn.ELU(inplace=True),
    ]
    for _ in range(depth):
        upsample = torch.nn.Upsample(scale_factor=2, mode="bilinear")
        layers += [upsample, separate_conv(times, width, width)]
    return torch.nn.Sequential(*layers)


def nearest_frames(features: torch.Tensor, num_neighbors: int) -> torch.Tensor:
    """Return the frames most similar to each one, itself first: (T, num_neighbors) indices.

    Frames of `features` (T, C, Y, X) are compared by the cosine of their deviations from the mean over
    time, averaged over 8 x 8 cells.
    """
    cells = torch.nn.functional.adaptive_avg_pool2d(features.float(), 8)
    deviations = torch.nn.functional.normalize((cells - cells.mean(dim=0)).flatten(1), dim=1)
    similarity = deviations @ deviations.T
    similarity.fill_diagonal_(torch.inf)
    return similarity.topk(num_neighbors, dim=1).indices
