"""The blocks that networks are composed of."""

from __future__ import annotations

from napari_dip.core.torch_import import torch


def conv_block(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> torch.nn.Sequential:
    """Return a convolution, batch normalization and LeakyReLU; the output is 1 / stride as large.

    The batch has one image: its statistics are instance statistics, and no other image follows later.
    """
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2),
        normalization(outputs),
        torch.nn.LeakyReLU(0.2, inplace=True),
    )


def normalization(channels: int) -> torch.nn.Module:
    """Return batch normalization without running statistics."""
    return torch.nn.BatchNorm2d(channels, track_running_stats=False)


def conv3d_block(
    inputs: int, outputs: int, *, size: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
) -> torch.nn.Sequential:
    """Return the block of `conv_block` for volumes (Z, Y, X), with a size and a stride for each axis."""
    padding = (size[0] // 2, size[1] // 2, size[2] // 2)
    return torch.nn.Sequential(
        torch.nn.Conv3d(inputs, outputs, size, stride=stride, padding=padding),
        normalization3d(outputs),
        torch.nn.LeakyReLU(0.2, inplace=True),
    )


def normalization3d(channels: int) -> torch.nn.Module:
    """Return batch normalization of volumes, without running statistics."""
    return torch.nn.BatchNorm3d(channels, track_running_stats=False)


def downsample(inputs: int, outputs: int, how: str) -> torch.nn.Sequential:
    """Return a convolution to half the size: strided, or followed by the mean over 2 x 2 pixels."""
    if how == "strided":
        return conv_block(inputs, outputs, stride=2)
    return torch.nn.Sequential(conv_block(inputs, outputs), torch.nn.AvgPool2d(2))


class SkipConnection(torch.nn.Module):
    """Concatenate a skip branch with a deeper branch that returns at the same size.

    An odd number of planes comes back with one more, which is dropped.
    """

    def __init__(self, skip: torch.nn.Module | None, deeper: torch.nn.Module) -> None:
        super().__init__()
        self.skip = skip
        self.deeper = deeper

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep: torch.Tensor = self.deeper(x)
        if self.skip is None:
            return deep[:, :, : x.shape[2]]
        thin = self.skip(x)
        return torch.cat((thin, deep[:, :, : thin.shape[2]]), dim=1)


class Float32(torch.nn.Module):
    """Run a layer in float32 whatever the precision around it: the last one, which makes the image."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            image: torch.Tensor = self.layer(x.float())
        return image


class FoldDepth(torch.nn.Module):
    """Run a network for volumes on depths that are channels: (1, C * Z, Y, X) in and out."""

    def __init__(self, body: torch.nn.Module, depths: int) -> None:
        super().__init__()
        self.body, self.depths = body, depths

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        volume = z.reshape(1, -1, self.depths, *z.shape[2:])
        image: torch.Tensor = self.body(volume)
        return image.flatten(1, 2)
