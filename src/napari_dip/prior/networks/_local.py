"""A network without statistics of the image: each pixel depends on its neighborhood alone."""

from __future__ import annotations

from napari_dip.core.torch_import import torch

WIDTHS = (48, 64, 96)  # channels at half, a quarter and an eighth of the size
HEAD_CHANNELS = 16  # at full size
SIZE_MULTIPLE = 8  # sides of its input are multiples of it
RECEPTIVE_FIELD_PX = 48  # an output pixel depends on none further away


class LocalUNet(torch.nn.Module):
    """A small U-Net that changes the image it is given, and works on crops as on the whole.

    The pixels are unshuffled, 2 x 2 to one, and three scales of convolutions follow, without
    normalization: a crop keeps its level. Its last layer begins at 0, so that the first output is the
    input.

    Parameters
    ----------
    in_channels : int
        Of the input (N, in_channels, H, W), whose first ones are the image.
    out_channels : int
        Of the image.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half, quarter, eighth = WIDTHS
        self.out_channels = out_channels
        self.down = torch.nn.ModuleList(
            [_conv(4 * in_channels, half), _conv(half, quarter), _conv(quarter, eighth)]
        )
        self.up = torch.nn.ModuleList(
            [
                torch.nn.Sequential(_conv(eighth + quarter, quarter), _conv(quarter, quarter)),
                torch.nn.Sequential(_conv(quarter + half, half), _conv(half, half)),
            ]
        )
        self.wide = torch.nn.Conv2d(half, 4 * HEAD_CHANNELS, 3, padding=1)
        self.head = torch.nn.Conv2d(HEAD_CHANNELS + in_channels, out_channels, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the image (N, out_channels, H, W), in float32."""
        functional = torch.nn.functional
        first = self.down[0](functional.pixel_unshuffle(z, 2))
        second = self.down[1](functional.avg_pool2d(first, 2))
        x = self.down[2](functional.avg_pool2d(second, 2))
        for skip, up in zip((second, first), self.up, strict=True):
            x = up(torch.cat((functional.interpolate(x, scale_factor=2.0), skip), dim=1))
        x = functional.silu(functional.pixel_shuffle(self.wide(x), 2))
        change: torch.Tensor = self.head(torch.cat((x, z), dim=1))
        return z[:, : self.out_channels].float() + change.float()


def _conv(inputs: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.SiLU(inplace=True)
    )
