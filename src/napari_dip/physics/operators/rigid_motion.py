"""Frames of one scene that drift and turn. Restoring them combines them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import area_mean
from napari_dip.physics.operators._pose_search import Level, coarse_to_fine, search_poses
from napari_dip.physics.operators._rigid_motion import MovingOperator, relative_poses
from napari_dip.physics.operators.base import Operator, OperatorSettings
from napari_dip.physics.operators.exposures import plane_medians

SEARCH_MARGIN = 1 / 8  # of the longer side, that a frame can move beyond the others
SPARE_PX = 3  # of the scene, beyond what any frame shows


class RigidMotion(OperatorSettings):
    """All frames along T show one scene that shifts and turns as a rigid body: one image.

    Frame t is T(pose_t) x + background_t, with its own mask and noise, where T rotates and shifts by
    Fourier interpolation: for frames whose pixels sample the scene finely enough. The poses are measured
    before the fit, from all frames jointly. The result has the grid and the background of the first
    frame that has data; it is computed on the union of all frames.
    """

    kind: Literal["rigid-motion"] = "rigid-motion"
    combines_time: ClassVar[bool] = True
    match_background: bool = True
    """Match the background of each frame to that of the first."""

    def build(self, data: FitData) -> Operator:
        if len(data.y) == 1:
            raise ObservationError(
                "there is only one frame: give several files, or an image with a time axis (T)"
            )
        aspect = data.header.pixel_ratio("Y")
        observed = torch.from_numpy(data.observed.copy())
        levels = plane_medians(data.y)[..., None, None].astype(np.float32)
        reference = int(data.observed.any(axis=(1, 2, 3)).argmax())  # the first that has data
        y = torch.from_numpy(np.nan_to_num(data.y - np.nan_to_num(levels)))
        poses, weights = search_poses(_levels(y, observed, aspect), len(y))
        poses = relative_poses(poses, reference, aspect)
        margin = _farthest(poses, y.shape[-2:], aspect) + SPARE_PX
        operator = RigidMotionOperator(poses, (y.shape[1], y.shape[2], y.shape[3]), margin, aspect)
        if self.match_background:
            operator.background = torch.from_numpy(np.nan_to_num(levels - levels[reference]))
        operator.reference = reference
        operator.weigh("frame", weights)
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return six noisy frames of some cells that turn and drift."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:56, :64].astype(float)
        scene = np.zeros((56, 64))
        for row, column in rng.uniform(8, 48, (20, 2)):
            scene += 100 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 12)
        poses = rng.uniform(-1, 1, (6, 3)) * [np.deg2rad(4), 2, 2]
        poses[0] = 0
        operator = RigidMotionOperator(torch.from_numpy(poses.astype(np.float32)), (1, 48, 56), 4, 1.0)
        frames = operator(torch.from_numpy(scene[None].astype(np.float32))).numpy()
        return Observation.from_array(frames[:, 0] + rng.normal(50, 5, (6, 48, 56)), axes="TYX")


class RigidMotionOperator(MovingOperator):
    """A x = the frames (C, Y, X) of a scene that has a `margin` on each side, for each pose."""

    def __init__(
        self, poses: torch.Tensor, frame: tuple[int, int, int], margin: int, aspect: float
    ) -> None:
        channels, height, width = frame
        self.scene_shape = (channels, height + 2 * margin, width + 2 * margin)
        self._margin = margin
        self.valid_region = slice(margin, margin + height), slice(margin, margin + width)
        super().__init__(poses, self.scene_shape[1:], aspect)

    def observe(self, moved: torch.Tensor) -> torch.Tensor:
        return moved[..., *self.valid_region]

    def observe_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(y, 4 * (self._margin,))

    def to_field(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def from_field(self, scene: torch.Tensor) -> torch.Tensor:
        return scene


def _levels(y: torch.Tensor, observed: torch.Tensor, aspect: float) -> Iterator[Level]:
    """The frames averaged over ever smaller pixels."""
    height, width = y.shape[-2:]
    for longer in coarse_to_fine(max(height, width)):
        sides = (round(height * longer / max(height, width)), round(width * longer / max(height, width)))
        share = area_mean(observed.float(), sides)
        low = area_mean(y * observed, sides) / share.clamp(min=1e-6)
        known = share > 0
        margin = math.ceil(SEARCH_MARGIN * longer)
        poses = torch.zeros((len(y), 3))
        operator = RigidMotionOperator(poses, (y.shape[1], *sides), margin, aspect)
        yield Level(operator, torch.where(known, low, 0.0), known, max(height, width) / longer)


def _farthest(poses: torch.Tensor, sides: torch.Size, aspect: float) -> int:
    """The largest shift of a corner of a frame. [pixel]"""
    top, left = ((side - 1) / 2 for side in sides)
    angle, shift = poses[:, 0], poses[:, 1:]
    farthest = 0.0
    for y, x in ((top, left), (top, -left)):  # and those opposite
        down = (torch.cos(angle) - 1) * y + torch.sin(angle) / aspect * x
        across = -torch.sin(angle) * aspect * y + (torch.cos(angle) - 1) * x
        turned = torch.stack((down, across), dim=1)
        farthest = max(farthest, float((turned.abs() + shift.abs()).max()))
    return math.ceil(farthest)
