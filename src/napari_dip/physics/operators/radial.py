"""Radial: magnetic resonance with several receive coils, sampled along spokes of k-space."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from napari_dip.core.axes import ChannelLayout, FloatArray
from napari_dip.core.errors import ObservationError, SettingsError
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

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2  # between two spokes, 111.25 degrees


class Radial(CoilSettings):
    """Data are samples of several coils along a trajectory: real parts first, then imaginary ones.

    Rows of a frame are its spokes, columns their samples. Any trajectory can be given; without one, the
    spokes pass through the center and rotate by the golden angle. Needs the package torchkbnufft.

    References
    ----------
    .. [1] Fessler, Sutton, "Nonuniform fast Fourier transforms using min-max interpolation", IEEE Trans.
           Signal Process. 51 (2003) 560.
    .. [2] Winkelmann et al., "An optimal radial profile order based on the golden ratio for
           time-resolved MRI", IEEE Trans. Med. Imaging 26 (2007) 68.
    """

    kind: Literal["radial"] = "radial"
    auxiliary: ClassVar[tuple[str, ...]] = ("coil_maps", "trajectory")
    image_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    """Height and width of the image; automatic: those of the coil maps, or half the number of samples of
    a spoke. [pixel]"""
    calibration_radius: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Radius of the center of k-space from which coil maps are estimated, if none are given.
    [cycle / pixel]"""

    def build(self, data: FitData) -> Operator:
        num_coils(data)
        places = self._trajectory(data)
        if "coil_maps" in data.auxiliary:
            maps, note = coil_maps(data), "coil maps as given"
            if self.image_size is not None and maps.shape[-1] != self.image_size:
                maps = coil_maps(data, (self.image_size, self.image_size))
        else:
            maps, note = self._estimate_maps(data, places), "coil maps from the center of k-space"
        operator = RadialOperator(maps, places, data.y.shape[2:])
        operator.note = note
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return three frames of a pulsing disk, measured by two coils."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:32, :32]
        scene = 1.0 * (np.hypot(y - 16, x - 16) < np.array([8, 7, 6])[:, None, None])
        ramp = x / 32 * np.pi / 2
        maps = torch.from_numpy(np.stack((np.cos(ramp), 1j * np.sin(ramp))).astype(np.complex64))
        operator = RadialOperator(maps, _golden_angle_spokes(3, 16, 64), (16, 64))
        pictures = np.stack((scene, 0 * scene), 1).reshape(6, 32, 32).astype(np.float32)
        data = operator(torch.from_numpy(pictures)).numpy()
        return Observation.from_array(data + rng.normal(0, 0.02, data.shape), axes="TCYX")

    def _trajectory(self, data: FitData) -> FloatArray:
        """The position of each sample, (T, 2, spokes, samples): rows and columns. [cycle / pixel]

        Raises
        ------
        ObservationError
            If there is not one position for each sample.
        """
        times, _, *shape = data.y.shape
        if "trajectory" not in data.auxiliary:
            return _golden_angle_spokes(times, *shape)
        places = data.auxiliary["trajectory"]
        if places.shape[1:] != (need := (2, *shape)) or len(places) not in (1, times):
            raise ObservationError(
                f"the trajectory is {places.shape} and k-space needs {(times, *need)}: give rows and"
                " columns [cycle / pixel] for each sample of each frame"
            )
        if not np.nanmax(np.abs(places)) <= 0.5:
            raise ObservationError(
                f"the trajectory reaches {np.nanmax(np.abs(places)):g}: give it in cycles per pixel,"
                " from -0.5 to 0.5"
            )
        return np.broadcast_to(np.nan_to_num(places), (times, *need)).astype(np.float32)

    def _estimate_maps(self, data: FitData, places: FloatArray) -> torch.Tensor:
        """Coil maps (coils, Y, X), from the center of k-space over all frames."""
        side = self.image_size or data.y.shape[-1] // 2
        alone = torch.ones((1, side, side), dtype=torch.complex64)
        operator = RadialOperator(alone, places, data.y.shape[2:])
        reach = np.hypot(places[:, :1], places[:, 1:]) / self.calibration_radius
        window = (
            np.where(reach < 1, np.cos(np.pi / 2 * reach) ** 2, 0) * reach
        )  # as samples crowd inwards
        samples = np.where(data.observed, data.y, 0) * window
        kspace = to_complex(torch.from_numpy(samples.astype(np.float32)))
        images = [operator.adjoint(to_real(kspace[:, [coil]])) for coil in range(kspace.shape[1])]
        return normalize_maps(
            torch.cat([to_complex(i.reshape(-1, 2, side, side)).sum(dim=0) for i in images])
        )


class RadialOperator(Operator):
    """A x = F_t (S_k x_t) for each frame t and coil k, with the unitary F at the positions of the
    samples.

    Attributes
    ----------
    maps : (coils, Y, X) complex64
    places : (T, 2, samples) float32
        [radian / pixel]
    """

    def __init__(self, maps: torch.Tensor, places: FloatArray, shape: tuple[int, ...]) -> None:
        self.maps, self.support = maps, support_of(maps)
        self.places = torch.from_numpy(2 * np.pi * places).float().flatten(2)
        self._shape, self._side = shape, (maps.shape[1], maps.shape[2])
        self.scene_layout = ChannelLayout(len(places), 2, 1)
        self.scene_shape = (2 * len(places), *self._side)
        self.scale_factor = (self._side[0] / shape[0], self._side[1] / shape[1])
        self._forward, self._adjoint = _transforms(self._side)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        pictures = to_complex(x.reshape(-1, 2, *self._side))
        # The unitary transform of the package is that of its grid, twice as large along each axis.
        samples = 2 * self._forward(pictures, self.places, smaps=self.maps[None], norm="ortho")
        return to_real(samples.reshape(*samples.shape[:2], *self._shape))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        samples = to_complex(y).flatten(2)
        images = 2 * self._adjoint(samples, self.places, smaps=self.maps[None], norm="ortho")
        return to_real(images).flatten(0, 1)

    def coverage(self, observed: torch.Tensor) -> torch.Tensor:
        """Return 1 everywhere: each datum depends on the whole scene."""
        return torch.ones(self.scene_shape, device=observed.device)

    def initial_estimate(self, y: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the mean over all frames, for each of them; (C, Y, X).

        Samples are weighted by their distance from the center, where they are dense.
        """
        assert self.scene_layout is not None
        times = self.scene_layout.times
        weight = observed * self.places.norm(dim=1).reshape(times, 1, *self._shape)
        known = torch.where(observed, y, 0.0)
        mean = self.adjoint(weight * known).reshape(times, 2, *self._side).mean(dim=0)
        mean = mean.repeat(times, 1, 1)
        seen = weight * self(mean)
        scaled: torch.Tensor = mean * ((seen * known).sum() / (seen * self(mean)).sum().clamp(min=1e-30))
        return scaled

    def to(self, device: torch.device) -> Self:
        """Return the operator on `device`."""
        moved = super().to(device)
        moved._forward, moved._adjoint = (part.to(device) for part in _transforms(self._side))
        return moved


def _transforms(side: tuple[int, int]) -> Any:
    """The transform from an image to samples at any position, and its adjoint.

    Raises
    ------
    SettingsError
        If the package is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which it uses
            from torchkbnufft import KbNufft, KbNufftAdjoint
    except ImportError as error:
        raise SettingsError(
            "operator.kind radial needs the package torchkbnufft: pip install 'napari-dip[mri]'"
        ) from error
    return KbNufft(im_size=side), KbNufftAdjoint(im_size=side)


def _golden_angle_spokes(times: int, spokes: int, samples: int) -> FloatArray:
    """Spokes that rotate by the golden angle from one to the next, (T, 2, spokes, samples)."""
    angles = GOLDEN_ANGLE * np.arange(times * spokes).reshape(times, 1, spokes, 1)
    along = (np.arange(samples) - samples // 2) / samples
    turned = np.concatenate((np.sin(angles), np.cos(angles)), axis=1) * along
    return np.asarray(turned, np.float32)
