"""SENSE: magnetic resonance with several receive coils, sampled along lines of k-space."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._coils import (
    CoilSettings,
    coil_maps,
    normalize_maps,
    num_coils,
    support_of,
    to_complex,
    to_real,
)
from napari_dip.physics.operators.base import Operator


class Sense(CoilSettings):
    """Data are the k-space of several coils: real parts first, then imaginary ones.

    Frame t is M_t F (S_k x_t) for each coil k: what was not sampled is missing. The result is complex,
    with its real and imaginary parts as channels. All frames along T are restored jointly.

    References
    ----------
    .. [1] Pruessmann, Weiger, Scheidegger, Boesiger, "SENSE: sensitivity encoding for fast MRI", Magn.
           Reson. Med. 42 (1999) 952, eq. (1).
    """

    kind: Literal["sense"] = "sense"
    auxiliary: ClassVar[tuple[str, ...]] = ("coil_maps",)
    calibration_width: Annotated[int, Field(ge=4, le=512)] = 24
    """Number of lines and columns in the center of k-space from which coil maps are estimated, if none
    are given. [line]"""

    def build(self, data: FitData) -> Operator:
        maps, note = self.find_maps(data)
        operator = SenseOperator(len(data.y), maps)
        operator.note = note
        return operator

    def find_maps(self, data: FitData) -> tuple[torch.Tensor, str]:
        """Return the coil maps, (coils, Y, X) complex64, given or estimated, and which of the two."""
        num_coils(data)
        if "coil_maps" in data.auxiliary:
            return coil_maps(data, data.y.shape[2:]), "coil maps as given"
        note = f"coil maps from the central {self.calibration_width} lines of k-space"
        return self._estimate_maps(data), note

    def make_example(self, seed: int) -> Observation:
        """Return four frames of a pulsing disk, measured by two coils."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:32, :40]
        radii = np.array([8, 7, 6, 7])[:, None, None]
        scene = 1.0 * (np.hypot(y - 16, x - 20) < radii)
        ramp = x / 40 * np.pi / 2
        maps = torch.from_numpy(np.stack((np.cos(ramp), 1j * np.sin(ramp))).astype(np.complex64))
        pictures = torch.from_numpy(
            np.stack((scene, 0 * scene), 1).reshape(8, 32, 40).astype(np.float32)
        )
        data = SenseOperator(4, maps)(pictures).numpy() + rng.normal(0, 0.02, (4, 4, 32, 40))
        sampled = rng.random((4, 1, 32, 1)) < 0.4
        sampled[:, :, 12:20] = True
        kspace = np.where(sampled, data, np.nan)
        return Observation.from_array(kspace, axes="TCYX")

    def _estimate_maps(self, data: FitData) -> torch.Tensor:
        """Coil maps, (coils, Y, X) complex64, from the center of the mean k-space over all frames."""
        middle = to_complex(_mean_over_time(data)) * self._window(data.y.shape[-2:])
        images = fftshift2(torch.fft.ifft2(ifftshift2(middle), norm="ortho"))
        return normalize_maps(images)

    def _window(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A smooth window over the center of k-space, (Y, X)."""
        along = []
        for side in shape:
            width = min(self.calibration_width, side)
            line = torch.zeros(side)
            start = (side - width) // 2
            line[start : start + width] = torch.hann_window(width + 2, periodic=False)[1:-1]
            along.append(line)
        return torch.outer(*along)


class SenseOperator(Operator):
    """A x = F (S_k x_t) for each frame t and coil k, with the unitary F.

    Attributes
    ----------
    maps : (coils, Y, X) complex64
        S with its center at the corner; the squares over all coils sum to 1, or to 0 outside the body.
    """

    def __init__(self, times: int, maps: torch.Tensor) -> None:
        self.maps, self.support = ifftshift2(maps), support_of(maps)
        self.scene_layout = ChannelLayout(times, 2, 1)
        self.scene_shape = (2 * times, maps.shape[1], maps.shape[2])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        pictures = to_complex(x.reshape(-1, 2, *x.shape[1:]))
        kspace = torch.fft.fft2(ifftshift2(pictures) * self.maps, norm="ortho")
        return to_real(fftshift2(kspace))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        images = torch.fft.ifft2(ifftshift2(to_complex(y)), norm="ortho")
        return to_real(fftshift2((images * self.maps.conj()).sum(dim=1, keepdim=True))).flatten(0, 1)

    def coverage(self, observed: torch.Tensor) -> torch.Tensor:
        """Return 1 everywhere: each datum depends on the whole scene."""
        return torch.ones(self.scene_shape, device=observed.device)

    def initial_estimate(self, y: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the mean over all frames, for each of them; (C, Y, X)."""
        number = observed.sum(dim=0, keepdim=True)
        mean = torch.where(observed, y, 0.0).sum(dim=0, keepdim=True) / number.clamp(min=1)
        assert self.scene_layout is not None
        return self.adjoint(mean).repeat(self.scene_layout.times, 1, 1)


def _mean_over_time(data: FitData) -> torch.Tensor:
    """The mean of what was sampled at each position of k-space, 0 where nothing was; (C, Y, X)."""
    y, observed = data.y, data.observed
    total = np.where(observed, y, 0).sum(axis=0, dtype=float)
    return torch.from_numpy((total / np.maximum(observed.sum(axis=0), 1)).astype(np.float32))


def fftshift2(planes: torch.Tensor) -> torch.Tensor:
    """Return (..., Y, X) with its corner in the center."""
    shifted: torch.Tensor = torch.fft.fftshift(planes, dim=(-2, -1))
    return shifted


def ifftshift2(planes: torch.Tensor) -> torch.Tensor:
    """Return (..., Y, X) with its center in the corner, where Fourier transforms have zero frequency."""
    shifted: torch.Tensor = torch.fft.ifftshift(planes, dim=(-2, -1))
    return shifted
