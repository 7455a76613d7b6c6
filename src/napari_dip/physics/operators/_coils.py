"""What operators for magnetic resonance share: complex images, and the sensitivities of coils."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import numpy as np

from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators.base import OperatorSettings


class CoilSettings(OperatorSettings, ABC):
    """Settings of an operator whose data are samples of several coils, for all frames at once."""

    combines_time: ClassVar[bool] = True
    has_complex_scene: ClassVar[bool] = True

    def result_axes(self, axes: str) -> str:
        """Return the same `axes`: each frame has a result of its own."""
        return axes


def num_coils(data: FitData) -> int:
    """Return the number of coils.

    Raises
    ------
    ObservationError
        If the channels are not pairs.
    """
    channels = int(data.y.shape[1])
    if channels % 2:
        raise ObservationError(
            f"k-space has an odd number of channels, {channels}, and each coil needs two: give the real"
            " parts of all coils, and then the imaginary parts"
        )
    return channels // 2


def coil_maps(data: FitData, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    """Return the given coil maps, (coils, Y, X) complex64.

    Raises
    ------
    ObservationError
        If there is not one for each coil, of the size `shape`.
    """
    maps = data.auxiliary["coil_maps"][0]
    need = (2 * num_coils(data), *(shape or maps.shape[1:]))
    if maps.shape != need:
        raise ObservationError(
            f"the coil maps are {maps.shape} (real and imaginary parts, Y, X) and k-space needs"
            f" {need}: give one map for each coil, of the size of the image"
        )
    return to_complex(torch.from_numpy(np.nan_to_num(maps)))


def support_of(maps: torch.Tensor) -> torch.Tensor:
    """Return 1 where any of the maps (coils, Y, X) is sensitive, and 0 elsewhere, (Y, X)."""
    return (maps != 0).any(dim=0).float()


def normalize_maps(images: torch.Tensor) -> torch.Tensor:
    """Return the sensitivities of coils: their images (coils, Y, X) over the root of their sum of
    squares.

    They contain the phase of the scene, which thereby is nearly real.

    References
    ----------
    .. [1] Roemer et al., "The NMR phased array", Magn. Reson. Med. 16 (1990) 192.
    .. [2] McKenzie et al., "Self-calibrating parallel imaging with automatic coil sensitivity
           extraction", Magn. Reson. Med. 47 (2002) 529.
    """
    length = images.abs().square().sum(dim=0).sqrt()
    return images / length.clamp(min=1e-6 * float(length.max()))


def to_complex(parts: torch.Tensor) -> torch.Tensor:
    """Return (..., 2 n, Y, X), real parts first, as (..., n, Y, X) complex."""
    return torch.complex(*parts.chunk(2, dim=-3))


def to_real(images: torch.Tensor) -> torch.Tensor:
    """Return the inverse of `to_complex`."""
    return torch.cat((images.real, images.imag), dim=-3)
