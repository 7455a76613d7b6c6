"""The torch modules of networks that are given the time."""

from __future__ import annotations

from napari_dip.core.torch_import import torch


class MapNet(torch.nn.Module):
    """A small fully connected network that maps the points of a manifold, one for each frame.

    Parameters
    ----------
    points : (T, dimensions) tensor
        Where each frame lies on the manifold.
    width : int
        Channels of the hidden layers.
    outputs : int
        Numbers for each frame; the result is (T, outputs, 1, 1).
    """

    def __init__(self, points: torch.Tensor, width: int, outputs: int) -> None:
        super().__init__()
        self._points = points[:, :, None, None]
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(points.shape[1], width, 1),
            torch.nn.LeakyReLU(0.2),
            torch.nn.Conv2d(width, width, 1),
            torch.nn.LeakyReLU(0.2),
            torch.nn.Conv2d(width, outputs, 1),
        )

    def forward(self) -> torch.Tensor:
        device = next(self.parameters()).device
        with torch.autocast(device.type, enabled=False):
            mapped: torch.Tensor = self.layers(self._points.to(device))
        return mapped


class LowRankNet(torch.nn.Module):
    """Images that are mixed for each frame."""

    def __init__(self, images: torch.nn.Module, mixture: torch.nn.Module, rank: int) -> None:
        super().__init__()
        self.images, self.mixture, self._rank = images, mixture, rank

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        u = self.images(z)[0].unflatten(0, (self._rank, -1))
        v = self.mixture()[:, :, 0, 0]
        return torch.einsum("tr,rcyx->tcyx", v, u).flatten(0, 1)[None]


class TimeDependentNet(torch.nn.Module):
    """Frames of one generator, some of which are computed at each step."""

    def __init__(
        self, generator: torch.nn.Module, mapped: torch.nn.Module, times: int, frames_per_step: int
    ) -> None:
        super().__init__()
        self.generator, self.mapped = generator, mapped
        self._times, self._frames_per_step = times, frames_per_step
        self.step = 0
        self.last: torch.Tensor | None = None

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        inputs = z * self.mapped()
        if self.last is None:
            with torch.no_grad():
                self.last = self.generator(inputs)
        times, number = self._times, self._frames_per_step
        places = torch.arange(number, device=z.device) * times // number
        selected = (self.step + places) % times
        self.step += 1
        frames = self.last.clone()
        frames[selected] = self.generator(inputs[selected])
        self.last = frames.detach()
        return frames.flatten(0, 1)[None]
