"""Frames of one scene that drift and turn, and the image that all of them show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.outside import INSIDE
from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import area_mean
from napari_dip.physics.operators._mean_of_frames import FrameMean, first_known
from napari_dip.physics.operators._pose_search import (
    COARSEST_SIDE,
    Level,
    coarse_to_fine,
    search_poses,
)
from napari_dip.physics.operators._rigid_motion import MovingOperator, relative_poses
from napari_dip.physics.operators.base import OperatorSettings
from napari_dip.physics.operators.exposures import plane_medians
from napari_dip.physics.operators.identity import Identity

SEARCH_MARGIN = 1 / 8  # of the longer side, that a frame can move beyond the others
SPARE_PX = 3  # of the scene, beyond what any frame shows
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, in standard deviations
MAX_SEARCHED = 2**25  # data of all frames in which poses are searched; more are averaged first


class RigidMotion(OperatorSettings):
    """All frames along T show one scene that shifts and turns as a rigid body: one image.

    Frame t is T(pose_t) x + background_t, with its own mask, where T rotates and shifts by Fourier
    interpolation: for frames whose pixels sample the scene finely enough. The poses are measured from
    all frames jointly, and are those of all channels and depths. As T is unitary, all that frames with
    white noise say of the scene is their least squares mean at these poses: this is the image that is
    restored, with the noise that the scatter of the frames shows. A noise map that is given says only
    how much each frame counts. The image has the grid and the background of the first frame that has
    data.
    """

    kind: Literal["rigid-motion"] = "rigid-motion"
    combines_time: ClassVar[bool] = True
    match_background: bool = True
    """Match the background of each frame to that of the first."""

    @property
    def reduced(self) -> OperatorSettings:
        return Identity()

    def build(self, data: FitData) -> RigidMotionOperator:
        """Return the operator of the frames, whose poses are measured."""
        check_frames(len(data.y))
        aspect = data.header.pixel_ratio("Y")
        observed = torch.from_numpy(data.observed.copy())
        levels = plane_medians(data.y)[..., None, None].astype(np.float32)
        y = torch.from_numpy(np.nan_to_num(data.y - np.nan_to_num(levels)))
        poses, weights = search_poses(_levels(y, observed, aspect), len(y))
        reference = int(data.observed.any(axis=(1, 2, 3)).argmax())  # the first that has data
        poses = relative_poses(poses, reference, aspect)
        margin = _farthest(poses, y.shape[-2:], aspect) + SPARE_PX
        operator = RigidMotionOperator(poses, (y.shape[1], y.shape[2], y.shape[3]), margin, aspect)
        if self.match_background:
            operator.background = torch.from_numpy(np.nan_to_num(levels - first_known(levels)))
        operator.reference = reference
        operator.weigh("frame", weights)
        return operator

    def reduce(self, observation: Observation) -> tuple[Observation, FloatArray]:
        data = FitData.from_observation(observation, keep_times=True)
        _check_no_copies(data.y)
        operator = self.build(data)
        level = torch.from_numpy(first_known(plane_medians(data.y)[..., None, None]).astype(np.float32))
        y = torch.nan_to_num(torch.from_numpy(data.y.copy()) - operator.background - level)
        frames = Level(operator, y, torch.from_numpy(data.observed.copy()), 1.0)
        mean = FrameMean.of_frames(frames, _frame_noise(data), match_background=self.match_background)

        def cut_out(scene: torch.Tensor) -> NDArray[Any]:
            planes: NDArray[Any] = scene[..., *operator.valid_region].numpy()
            return planes.reshape(1, *observation.y.shape[1:])

        first = slice(operator.reference, operator.reference + 1)
        auxiliary = {
            name: array[first] if len(array) > 1 else array
            for name, array in observation.auxiliary.items()
        }
        observed, outside = cut_out(mean.observed), observation.outside
        reduced = replace(
            observation,
            y=np.where(observed, cut_out(mean.image + level[0]), np.float32(np.nan)),
            observed=observed,
            axes=self.result_axes(observation.axes),
            auxiliary={**auxiliary, "sigma": cut_out(mean.std)},
            findings=(*observation.findings, *operator.findings),
            outside=None if outside is None else np.where(observed, np.float32(INSIDE), outside[first]),
        )
        return reduced, operator.motion

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


def check_frames(number: int) -> None:
    """Raise an ObservationError if there are not several frames."""
    if number == 1:
        raise ObservationError(
            "there is only one frame: give several files, or an image with a time axis (T)"
        )


def _check_no_copies(y: FloatArray) -> None:
    """Refuse a frame that is there twice: what it has in common with itself is no scene."""
    seen: dict[bytes, int] = {}
    for number, frame in enumerate(y, 1):
        first = seen.setdefault(frame.tobytes(), number)
        if first != number and np.isfinite(frame).any():
            raise ObservationError(
                f"frames {first} and {number} are the same, and the noise is measured where frames"
                " differ: leave one out"
            )


def _frame_noise(data: FitData) -> NDArray[np.float64]:
    """The noise of each frame, (T, C): typical if it is given, else estimated; NaN if there is none."""
    if (given := data.auxiliary.get("sigma")) is not None:
        return plane_medians(np.where(data.observed, given, np.float32(np.nan)))
    details = np.diff(np.diff(data.y, axis=-1), axis=-2) / 2
    return plane_medians(np.abs(details)) / MEDIAN_OF_NORMAL


def _levels(y: torch.Tensor, observed: torch.Tensor, aspect: float) -> Iterator[Level]:
    """The frames averaged over ever smaller pixels."""
    height, width = y.shape[-2:]
    for longer in coarse_to_fine(max(height, width)):
        if longer > COARSEST_SIDE and y.numel() * (longer / max(height, width)) ** 2 > MAX_SEARCHED:
            return
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
