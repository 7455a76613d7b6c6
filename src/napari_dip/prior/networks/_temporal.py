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
    dimensions : int, optional
        Dimensions to which the points are projected first, by weights that are learned.
    """

    def __init__(
        self, points: torch.Tensor, width: int, outputs: int, dimensions: int | None = None
    ) -> None:
        super().__init__()
        self._points = points[:, :, None, None]
        given = points.shape[1]
        self.layers = torch.nn.Sequential(
            *([torch.nn.Conv2d(given, dimensions, 1, bias=False)] if dimensions else []),
            torch.nn.Conv2d(dimensions or given, width, 1),
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

    def __init__(self, images: torch.nn.Module, mixture: torch.nn.Module) -> None:
        super().__init__()
        self.images, self.mixture = images, mixture

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return mix(self.mixture()[..., 0, 0], self.images(z)[0]).flatten(0, 1)[None]


def mix(v: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return the frames (T, C, Y, X) that mix images (rank * C, Y, X) with the shares v (T, rank)."""
    u = images.reshape(v.shape[1], -1, *images.shape[1:])
    with torch.autocast(images.device.type, enabled=False):
        return torch.einsum("tr,rcyx->tcyx", v, u)


class DeformingNet(torch.nn.Module):
    """Images that are mixed and deformed for each frame.

    Parameters
    ----------
    images : torch.nn.Module
        From its input to (1, rank * C, Y, X).
    motion : torch.nn.Module
        Without input, gives the share of each image, and the rows and columns of the displacements of
        the control points: (T, rank + 2 * points * points, 1, 1). [pixel]
    rank, points : int
        Number of images, and of control points along each axis.
    """

    def __init__(self, images: torch.nn.Module, motion: torch.nn.Module, rank: int, points: int) -> None:
        super().__init__()
        self.images, self.motion, self._rank, self._points = images, motion, rank, points

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        images = self.images(z)[0]
        v, displacements = self.motion()[..., 0, 0].tensor_split((self._rank,), dim=1)
        frames = deform(mix(v, images), displacements.unflatten(1, (2, self._points, -1)))
        return frames.flatten(0, 1)[None]


def deform(series: torch.Tensor, displacements: torch.Tensor) -> torch.Tensor:
    """Return images (T, C, Y, X) whose pixels are taken from elsewhere, by cubic interpolation.

    Linear interpolation blurs: with it, a simulated beating heart was 2.2 dB worse.

    Parameters
    ----------
    series : (T, C, Y, X) tensor
        The images; beyond their border they are as at the border.
    displacements : (T, 2, points, points) tensor
        From control points, evenly spaced from border to border, to where they are taken from: rows,
        then columns. [pixel]
    """
    if series.device.type == "mps":  # which cannot interpolate so
        return deform(series.cpu(), displacements.cpu()).to(series.device)
    height, width = series.shape[-2:]
    dy, dx = torch.nn.functional.interpolate(
        displacements, (height, width), mode="bicubic", align_corners=True
    ).unbind(dim=1)
    rows, columns = (torch.linspace(-1, 1, side, device=series.device) for side in (height, width))
    places = torch.stack(
        (columns + dx * (2 / (width - 1)), rows[:, None] + dy * (2 / (height - 1))), dim=-1
    )
    return torch.nn.functional.grid_sample(
        series, places, mode="bicubic", padding_mode="border", align_corners=True
    )


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
