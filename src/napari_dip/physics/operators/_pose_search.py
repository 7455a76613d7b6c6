"""The search for the poses of a moving scene: joint Gauss-Newton steps, coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from napari_dip.core.torch_import import torch
from napari_dip.physics.linalg import conjugate_gradient
from napari_dip.physics.operators._rigid_motion import (
    DAMPING_STEP,
    FIRST_DAMPING,
    MAX_DAMPING,
    MIN_DAMPING,
    MovingOperator,
)

MAX_STEPS, MAX_ITER = 15, 60  # of Gauss-Newton at each size, and of conjugate gradients in each step
COARSEST_SIDE = 32  # pixels, of the first level
CONVERGED_PX = 0.03  # largest change of a pose, in pixels of the full size
ROUGHNESS = 0.02  # weight of the highest frequency of the scene, over that of the data in a pixel
LEAST_WEIGHT = 1e-5  # the same of all frequencies
MAX_RESTARTS, LARGEST_RESTART = 3, 64  # times, and pixels of a level where there are any
TRIED_DEGREES, TRIED_SHIFT = 12.0, 0.1  # largest pose of a restart; the shift in longer sides
TRIED_AT_A_TIME = 256
GOOD_MISFIT = 2.0  # mean square residual of an exposure, over the median, up to which it counts fully


@dataclass(frozen=True)
class Level:
    """The data at one size.

    Attributes
    ----------
    operator : MovingOperator
        Whatever its poses are.
    y, observed : (T, C, Y, X) tensors
        The data, 0 where they are not observed.
    scale : float
        Pixels of the full size per pixel of this one.
    """

    operator: MovingOperator
    y: torch.Tensor
    observed: torch.Tensor
    scale: float


class PoseSearch:
    """A scene and its poses that explain some data best.

    Scene x and poses p are corrected jointly: each step is the solution of the linear least squares
    problem |w (y - A x - A dx - J dp)|^2 + t |x + dx|^2, with J the derivative of the data by the poses,
    by conjugate gradients. If the scene were kept for a step of the poses, and the poses for one of the
    scene, they would wait for each other.

    Parameters
    ----------
    level : Level
        Its operator has the poses to start from, and gets those that are found.
    weights : (T,) tensor
        How much each exposure counts.
    smoothness : float
        How much the scene is expected to be smooth.

    Attributes
    ----------
    x : (C, H, W) tensor
        The scene, in `unit`.
    unit : scalar tensor
        The largest datum.
    seen : (T,) tensor
        Which exposures have data at this level.

    References
    ----------
    .. [1] Cordero-Grande et al., "Sensitivity encoding for aligned multishot magnetic resonance
           reconstruction", IEEE Trans. Comput. Imaging 2 (2016) 266. Differs: joint steps instead of
           alternating ones.
    .. [2] Levenberg, "A method for the solution of certain non-linear problems in least squares", Quart.
           Appl. Math. 2 (1944) 164 (the damping).
    """

    def __init__(self, level: Level, weights: torch.Tensor, *, smoothness: float = 1.0) -> None:
        self._level, self.operator = level, level.operator
        largest = level.y.abs().max()
        self.unit = torch.where(largest > 0, largest, 1.0)  # 1e-20 squared would vanish
        self._y = level.y / self.unit
        self._observed = level.observed.float()
        self._root = weights.sqrt()[:, None, None, None] * self._observed
        full = self.operator.coverage(level.observed)
        self._coverage = float(full[full > 0].median())
        self._penalty = smoothness * self._coverage * _roughness(self.operator.scene_shape, level.scale)
        self.x = torch.zeros(self.operator.scene_shape)
        self.seen = level.observed.flatten(1).any(dim=1)

    def run(self) -> None:
        """Search until no pose changes by `CONVERGED_PX`."""
        self.fit_scene()
        misfit, damping = self._misfit(), FIRST_DAMPING
        for _ in range(MAX_STEPS):
            dx, dp = self._step(damping)
            x, poses = self.x, self.operator.poses
            self.x = x + dx
            self.operator.set_poses(poses + dp)
            better = self._misfit()
            if better < misfit:
                misfit, damping = better, max(damping / DAMPING_STEP, MIN_DAMPING)
                radius = max(self.operator.sides) / 2
                farthest = (dp.abs() * torch.tensor([radius, 1, 1])).max()
                if float(farthest) * self._level.scale < CONVERGED_PX:
                    return
                continue
            self.x = x
            self.operator.set_poses(poses)
            damping *= DAMPING_STEP
            if damping > MAX_DAMPING:
                return

    def restart(self) -> bool:
        """Try poses all over the field for exposures that fit badly; return whether any fits better.

        Such an exposure is compared with the scene that the others show.
        """
        poses, is_better = self.operator.poses, False
        doubtful = [int(n) for n in torch.nonzero(self._mean_squares() > self._limit())]
        for exposure in doubtful:
            others = torch.ones(len(poses))
            others[exposure] = 0
            without = PoseSearch(self._level, others)
            without.fit_scene()
            candidates = torch.cat((poses[exposure : exposure + 1], self._grid()))
            misfits = []
            for some in torch.split(candidates, TRIED_AT_A_TIME):
                self.operator.set_poses(some)
                difference = self._observed[exposure] * (self._y[exposure] - self.operator(without.x))
                misfits.append(difference.square().sum(dim=(1, 2, 3)))
            best = torch.cat(misfits).argmin()
            is_better = is_better or int(best) > 0
            poses = poses.clone()
            poses[exposure] = candidates[best]
            self.operator.set_poses(poses)
        return is_better

    def _grid(self) -> torch.Tensor:
        """Poses all over the field, (N, 3)."""
        reach = TRIED_SHIFT * max(self.operator.sides)
        turns = torch.deg2rad(torch.linspace(-TRIED_DEGREES, TRIED_DEGREES, 9))
        shifts = torch.linspace(-reach, reach, 11)
        return torch.cartesian_prod(turns, shifts, shifts)

    def _mean_squares(self) -> torch.Tensor:
        square = (self._observed * self.residual()).square().sum(dim=(1, 2, 3))
        return square / self._observed.sum(dim=(1, 2, 3)).clamp(min=1)

    def _limit(self) -> torch.Tensor:
        return GOOD_MISFIT * self._mean_squares()[self.seen].median()

    def exposure_weights(self) -> torch.Tensor:
        """Return how much each exposure should count, (T,): 1, or less where it has no one pose."""
        return (self._limit() / self._mean_squares().clamp(min=1e-30)).clamp(max=1).square()

    def residual(self) -> torch.Tensor:
        """Return the data minus those of the scene, in `unit`."""
        return self._y - self.operator(self.x)

    def _misfit(self) -> float:
        square = (self._root * self.residual()).square().sum()
        return float(square + (self.x * self._penalize(self.x)).sum())

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        weighted = self._root.square() * self.operator(x)
        return self.operator.adjoint(weighted) + self._penalize(x)

    def _penalize(self, x: torch.Tensor) -> torch.Tensor:
        """The derivative of half the penalty."""
        spectrum = torch.fft.rfft2(x) * self._penalty
        weighted: torch.Tensor = torch.fft.irfft2(spectrum, s=x.shape[-2:])
        return weighted

    def fit_scene(self, max_iter: int = MAX_ITER) -> None:
        """Fit the scene with the poses as they are."""
        right = self.operator.adjoint(self._root.square() * self._y)
        self.x = conjugate_gradient(self._normal, right, max_iter)

    def _step(self, damping: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The correction of the scene, and that of the poses.

        The unknowns are scaled so that the curvature of the misfit is about 1 along each.
        """
        operator, root = self.operator, self._root
        jacobian = (root * operator.derivatives(self.x)).flatten(2).movedim(0, 1)  # (T, 3, N)
        curvature = jacobian @ jacobian.mT
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        added = torch.diag_embed(damping * diagonal + 1e-6 * diagonal.mean() + 1e-30)
        whitening = torch.linalg.inv(torch.linalg.cholesky(curvature + added)).mT
        split, root_coverage = self.x.numel(), self._coverage**0.5

        def unpack(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            poses = (whitening @ u[split:].reshape(-1, 3, 1))[..., 0]
            return u[:split].reshape(self.x.shape) / root_coverage, poses

        def pack(x: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
            return torch.cat((x.flatten() / root_coverage, (whitening.mT @ poses[..., None]).flatten()))

        def normal(u: torch.Tensor) -> torch.Tensor:
            dx, dp = unpack(u)
            moved = (jacobian.mT @ dp[..., None]).reshape(self._y.shape)
            data = root * operator(dx) + moved
            towards_poses = (jacobian @ data.flatten(1)[..., None])[..., 0]
            towards_poses = towards_poses + (added @ dp[..., None])[..., 0]
            towards_x = operator.adjoint(root * data) + (1 + damping) * self._penalize(dx)
            return pack(towards_x, towards_poses)

        residual = root * self.residual()
        slope = (jacobian @ residual.flatten(1)[..., None])[..., 0]
        right = pack(operator.adjoint(root * residual) - self._penalize(self.x), slope)
        return unpack(conjugate_gradient(normal, right, MAX_ITER))


def _roughness(shape: tuple[int, ...], scale: float) -> torch.Tensor:
    """The weight of each frequency of a scene (C, H, W) with pixels of this size: about the inverse of
    the power of images.
    """
    rows, columns = (
        axis(side) / scale / 0.5
        for axis, side in zip((torch.fft.fftfreq, torch.fft.rfftfreq), shape[1:], strict=True)
    )
    weight: torch.Tensor = ROUGHNESS * (rows[:, None].square() + columns.square()) + LEAST_WEIGHT
    return weight


def search_poses(levels: Iterable[Level], times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the poses of `times` exposures, (T, 3), and how much each exposure should count, (T,).

    The `levels` are coarse to fine: features that are larger than the motion are what shows where to go.
    """
    poses, weights = torch.zeros((times, 3)), torch.ones(times)
    for level in levels:
        unit = torch.tensor([1, level.scale, level.scale])
        level.operator.set_poses(poses / unit)
        search = PoseSearch(level, weights)
        search.run()
        for _ in range(MAX_RESTARTS if max(level.y.shape[-2:]) <= LARGEST_RESTART else 0):
            if not search.restart():
                break
            search.run()
        poses, weights = level.operator.poses * unit, search.exposure_weights()
    return poses, weights * search.seen


def coarse_to_fine(side: int) -> list[int]:
    """Return the sides of the levels for images of this `side`: doubled from `COARSEST_SIDE` on."""
    number = max(round(math.log2(side / COARSEST_SIDE)), 0)
    return [*(COARSEST_SIDE * 2**level for level in range(number)), side]
