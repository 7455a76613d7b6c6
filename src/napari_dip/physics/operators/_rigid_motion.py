"""A scene that moves as a rigid body between exposures: the operator, and its poses from the data."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import FloatArray
from napari_dip.core.state import Stateful
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators.base import Operator

FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING, DAMPING_STEP = 1e-2, 1e-5, 1e4, 5
TINY = 1e-20  # curvature that is added for exposures without data
LITTLE = 0.5  # weight of an exposure, of 1, below which its misfit is a reason to check


class MovingOperator(Operator, Stateful):
    """A x = B T(pose_t) x for each exposure t: the scene rotates about its middle and then shifts.

    T is made of three shears and a shift, each of which is a phase ramp in the Fourier transform along
    one axis. It is unitary, and smooth in the pose: a point (y, x), counted from the middle, goes to
    (cos(a) y + sin(a) x + t_y, -sin(a) y + cos(a) x + t_x).

    Attributes
    ----------
    poses : (T, 3) tensor
        Rotation, and shift along Y and X. [radian, pixel]
    aspect : float
        Height of a pixel over its width.
    reference : int
        The exposure whose pose stays as it is: poses are relative to it.

    References
    ----------
    .. [1] Unser, Thevenaz, Yaroslavsky, "Convolution-based interpolation for fast, high-quality rotation
           of images", IEEE Trans. Image Process. 4 (1995) 1371, section II.
    """

    changing = ("poses", "_damping")
    reference: int = 0

    def __init__(self, poses: torch.Tensor, sides: tuple[int, int], aspect: float) -> None:
        self.sides, self.aspect = sides, aspect
        self._start = poses
        self.reset()

    def reset(self) -> None:
        self._damping = torch.full((len(self._start),), FIRST_DAMPING, device=self._start.device)
        self.set_poses(self._start)

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().load_state_dict(state, device)
        self.set_poses(self.poses)

    @abstractmethod
    def observe(self, moved: torch.Tensor) -> torch.Tensor:
        """Return the data (T, C, Y, X) of a scene that is `moved`, (T, channels, H, W)."""

    @abstractmethod
    def observe_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Return B^H y, (T, channels, H, W)."""

    @abstractmethod
    def to_field(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scene x (C, H, W) on the field where it moves, (channels, H, W), real or
        complex.
        """

    @abstractmethod
    def from_field(self, scene: torch.Tensor) -> torch.Tensor:
        """Return the adjoint of `to_field`."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.observe(self.move(self.to_field(x)))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.from_field(self._move_back(self.observe_adjoint(y)).sum(dim=0))

    def set_poses(self, poses: torch.Tensor) -> None:
        """Let the scene have other poses."""
        self.poses = poses
        y, x, ky, kx = self._coordinates()
        angle, ty, tx = (part[:, None, None] for part in poses.T)
        a, b = torch.tan(angle / 2) * self.aspect, torch.sin(angle) / self.aspect
        self._shear_x, self._shear_y = _ramp(-a * kx * y), _ramp(b * ky * x)
        self._shear_and_shift_x, self._shift_y = _ramp(kx * (tx - a * y)), _ramp(ky * ty)

    def move(self, scene: torch.Tensor) -> torch.Tensor:
        """Return T x for each pose, (T, channels, H, W), of a scene (channels, H, W)."""
        for axis, ramp in self._ramps():
            scene = _filter(scene, ramp[:, None], axis)
        return scene

    def _move_back(self, moved: torch.Tensor) -> torch.Tensor:
        """T^H, which is the inverse of T."""
        for axis, ramp in reversed(list(self._ramps())):
            moved = _filter(moved, ramp[:, None].conj(), axis)
        return moved

    def derivatives(self, x: torch.Tensor) -> torch.Tensor:
        """Return how the data of the scene change with each part of its pose, (3, T, C, Y, X)."""
        y, x_, ky, kx = self._coordinates()
        _, ty, tx = (part[:, None, None, None] for part in self.poses.T)
        moved = self.move(self.to_field(x))
        down, across = (_filter(moved, 2j * math.pi * k, axis) for k, axis in ((ky, -2), (kx, -1)))
        turned = (y - ty) * self.aspect * across - (x_ - tx) / self.aspect * down
        return torch.stack([self.observe(d) for d in (turned, -down, -across)])

    def adapt(self, x: torch.Tensor, y: torch.Tensor, observed: torch.Tensor) -> None:
        """Correct the poses by one damped Gauss-Newton step of each, with the scene `x` as it is."""
        seen, largest = observed.float(), y.abs().max().clamp(min=torch.finfo(y.dtype).tiny)
        x, y = x / largest, y / largest  # whose squares would overflow, or vanish
        jacobian = (seen * self.derivatives(x)).flatten(2).movedim(0, 1)  # (T, 3, N)
        residual = (seen * (y - self(x))).flatten(1)
        curvature = jacobian @ jacobian.mT
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        damped = curvature + torch.diag_embed(self._damping[:, None] * diagonal + TINY)
        slope = (jacobian @ residual[..., None])[..., 0]
        before = self.poses
        self.set_poses(before + torch.linalg.solve_ex(damped, slope).result)
        better = (seen * (y - self(x))).square().sum(dim=(1, 2, 3)) < residual.square().sum(dim=1)
        better &= torch.arange(len(before), device=before.device) != self.reference
        factor = torch.where(better, 1 / DAMPING_STEP, DAMPING_STEP)
        self._damping = (self._damping * factor).clamp(MIN_DAMPING, MAX_DAMPING)
        self.set_poses(torch.where(better[:, None], self.poses, before))

    @property
    def motion(self) -> FloatArray:
        poses: FloatArray = self.poses.cpu().numpy().copy()
        poses[:, 0] = np.rad2deg(poses[:, 0])
        return poses

    def weigh(self, exposure: str, weights: torch.Tensor) -> None:
        """Let exposures count by their `weights`, (T,), and say which of them count little."""
        self.data_weights = weights[:, None, None, None]
        for reason, found in (
            ("nothing was measured", weights == 0),
            (
                "it fits no single pose, and counts little: the scene moved, or differs",
                (weights > 0) & (weights < LITTLE),
            ),
        ):
            if numbers := [str(int(n) + 1) for n in torch.nonzero(found)]:
                where = f"{exposure} {', '.join(numbers)} of {len(weights)}"
                self.findings = (*self.findings, Finding("check", f"{where}: {reason}"))

    def _ramps(self) -> Iterator[tuple[int, torch.Tensor]]:
        yield -1, self._shear_x
        yield -2, self._shear_y
        yield -1, self._shear_and_shift_x
        yield -2, self._shift_y

    def _coordinates(self) -> tuple[torch.Tensor, ...]:
        """The places y (H, 1) and x (W,), counted from the middle, and their frequencies.

        The highest frequency of an even side has no sign, and stays as it is.
        """
        places, frequencies = [], []
        for side in self.sides:
            frequency = torch.fft.fftfreq(side, device=self.poses.device)
            if side % 2 == 0:
                frequency[side // 2] = 0
            frequencies.append(frequency)
            places.append(torch.arange(side, device=self.poses.device) - (side - 1) / 2)
        return places[0][:, None], places[1], frequencies[0][:, None], frequencies[1]


def _filter(x: torch.Tensor, response: torch.Tensor, axis: int) -> torch.Tensor:
    """Images (..., H, W), real or complex, with the Fourier transform along one axis multiplied by a
    `response`, which makes real images of real ones.
    """
    filtered: torch.Tensor
    if x.is_complex():
        filtered = torch.fft.ifft(torch.fft.fft(x, dim=axis) * response, dim=axis)
        return filtered
    side = x.shape[axis]
    half = response.narrow(axis, 0, side // 2 + 1)
    filtered = torch.fft.irfft(torch.fft.rfft(x, dim=axis) * half, n=side, dim=axis)
    return filtered


def relative_poses(poses: torch.Tensor, reference: int, aspect: float) -> torch.Tensor:
    """Return `poses` of the scene as it is at the `reference`, whose own pose is then 0.

    A pose that is common to all cannot be distinguished from another scene.
    """
    angle, shift = poses[:, 0] - poses[reference, 0], poses[reference, 1:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    turned_y = cos * shift[0] + sin / aspect * shift[1]
    turned_x = -sin * aspect * shift[0] + cos * shift[1]
    return torch.stack((angle, poses[:, 1] - turned_y, poses[:, 2] - turned_x), dim=1)


def _ramp(cycles: torch.Tensor) -> torch.Tensor:
    return torch.polar(torch.ones_like(cycles), -2 * math.pi * cycles)
