"""SENSE of a body that moves between shots: motion correction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import area_mean
from napari_dip.physics.operators._coils import normalize_maps, support_of, to_complex, to_real
from napari_dip.physics.operators._pose_search import Level, coarse_to_fine, search_poses
from napari_dip.physics.operators._rigid_motion import MovingOperator, relative_poses
from napari_dip.physics.operators.base import Operator
from napari_dip.physics.operators.sense import Sense, fftshift2, ifftshift2

MARGIN = 1 / 8  # of the longer side, that the body can move beyond the field of view
CENTER = 4  # lines and columns on each side of the center: the shot with most of it is the reference


class SenseMotion(Sense):
    """All shots along T show one scene that moves as a rigid body between them: one image.

    Data are the k-space of several coils, as for `sense`; shot t has the lines that were measured
    together. It is M_t F (S_k T(pose_t) x) for each coil k, where T rotates and shifts the scene within
    the coils, which stay. The poses are measured before the fit, relative to the shot that has the
    center of k-space. Shots within which the body moved have no single pose, and count
    little.

    References
    ----------
    .. [1] Cordero-Grande et al., "Sensitivity encoding for aligned multishot magnetic resonance
           reconstruction", IEEE Trans. Comput. Imaging 2 (2016) 266, eq. (1).
    """

    kind: Literal["sense-motion"] = "sense-motion"  # type: ignore[assignment]

    def result_axes(self, axes: str) -> str:
        """Return the axes of one image."""
        return axes.replace("T", "")

    def build(self, data: FitData) -> Operator:
        if len(data.y) == 1:
            raise ObservationError(
                "there is only one shot: give k-space with its shots along the time axis (T), or say to"
                " correct_motion in which shot each line was measured"
            )
        maps, note = self.find_maps(data)
        times, aspect = len(data.y), data.header.pixel_ratio("Y")
        y = torch.from_numpy(np.nan_to_num(data.y))
        observed = torch.from_numpy(data.observed.copy())
        poses, weights = search_poses(_levels(y, observed, maps, aspect), times)
        reference = _reference(data)
        poses = relative_poses(poses, reference, aspect)
        operator = SenseMotionOperator(poses, maps, aspect)
        operator.note, operator.reference = note, reference
        operator.weigh("shot", weights)
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return eight shots of a few ellipses that turn and shift, measured by four coils."""
        rng = np.random.default_rng(seed)
        side, shots = 48, 8
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        scene = 1.0 * (np.hypot(y / 17, x / 13) < 1) - 0.6 * (np.hypot((y - 4) / 6, (x + 3) / 3) < 1)
        scene += 0.8 * (np.hypot((y + 6) / 3, (x - 4) / 4) < 1)
        around = [
            np.exp(-(((y - 30 * s) ** 2 + (x - 30 * c) ** 2) / 1200)) * (c + 1j * s)
            for s, c in ((0, 1), (1, 0), (0, -1), (-1, 0))
        ]
        maps = normalize_maps(torch.from_numpy(np.array(around, np.complex64)))
        poses = rng.uniform(-1, 1, (shots, 3)) * [np.deg2rad(3), 2, 2]
        poses[0] = 0
        operator = SenseMotionOperator(torch.from_numpy(poses.astype(np.float32)), maps, 1.0)
        picture = torch.from_numpy(np.stack((scene, 0 * scene)).astype(np.float32))
        data = operator(picture).numpy() + rng.normal(0, 0.02, (shots, 8, side, side))
        lines = np.arange(side) % shots == np.arange(shots)[:, None]
        kspace = np.where(lines[:, None, :, None], data, np.nan)
        observation = Observation.from_array(kspace, axes="TCYX")
        given = to_real(maps).numpy()
        return observation.with_auxiliary("coil_maps", given, axes="CYX")


class SenseMotionOperator(MovingOperator):
    """A x = F (S_k T(pose_t) x) for each shot t and coil k, with the unitary F.

    Attributes
    ----------
    maps : (coils, Y, X) complex64
        S; the squares over all coils sum to 1, or to 0 outside the body.
    """

    def __init__(self, poses: torch.Tensor, maps: torch.Tensor, aspect: float) -> None:
        self.maps, self.support = maps, support_of(maps)
        height, width = maps.shape[1:]
        self._margin = round(MARGIN * max(height, width))
        self.scene_layout, self.scene_shape = ChannelLayout(1, 2, 1), (2, height, width)
        super().__init__(poses, (height + 2 * self._margin, width + 2 * self._margin), aspect)

    def observe(self, moved: torch.Tensor) -> torch.Tensor:
        images = self._crop(moved) * self.maps
        return to_real(fftshift2(torch.fft.fft2(ifftshift2(images), norm="ortho")))

    def observe_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        images = fftshift2(torch.fft.ifft2(ifftshift2(to_complex(y)), norm="ortho"))
        return self._pad((images * self.maps.conj()).sum(dim=1, keepdim=True))

    def to_field(self, x: torch.Tensor) -> torch.Tensor:
        return self._pad(to_complex(x))

    def from_field(self, scene: torch.Tensor) -> torch.Tensor:
        return to_real(self._crop(scene))

    def coverage(self, observed: torch.Tensor) -> torch.Tensor:
        """Return 1 everywhere: each datum depends on the whole scene."""
        return torch.ones(self.scene_shape, device=observed.device)

    def initial_estimate(self, y: torch.Tensor, observed: torch.Tensor) -> torch.Tensor | None:
        """Return the sum of what all shots show, each moved back."""
        return self.adjoint(torch.where(observed, y, 0.0))

    def _pad(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, 4 * (self._margin,))

    def _crop(self, moved: torch.Tensor) -> torch.Tensor:
        inside = slice(self._margin, -self._margin)
        return moved[..., inside, inside]


def _levels(
    y: torch.Tensor, observed: torch.Tensor, maps: torch.Tensor, aspect: float
) -> Iterator[Level]:
    """The data with ever more of k-space."""
    sides = maps.shape[1:]
    for longer in coarse_to_fine(max(sides)):
        rows, columns = (_center(side, side * longer / max(sides)) for side in sides)
        inside = (..., rows, columns)
        low = _shrink(maps, (rows.stop - rows.start, columns.stop - columns.start))
        operator = SenseMotionOperator(torch.zeros((len(y), 3)), low, aspect)
        yield Level(operator, y[inside], observed[inside], max(sides) / longer)


def _center(side: int, length: float) -> slice:
    """The middle of an axis with zero frequency at side // 2."""
    half = min(math.ceil(length / 2), side // 2)
    return (
        slice(side // 2 - half, min(side // 2 + half, side)) if 2 * half < side - 1 else slice(0, side)
    )


def _shrink(maps: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """Coil maps on a coarser grid."""
    return normalize_maps(to_complex(area_mean(to_real(maps)[None], sides)[0]))


def _reference(data: FitData) -> int:
    """The shot with most samples in the center of k-space."""
    rows, columns = (slice(side // 2 - CENTER, side // 2 + CENTER) for side in data.y.shape[-2:])
    return int(data.observed[:, 0, rows, columns].sum(axis=(1, 2)).argmax())
