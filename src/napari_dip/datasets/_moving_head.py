"""Simulated k-space of a head that moves between shots, with known truth and motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.datasets._kspace import (
    OVERSAMPLING,
    coil_maps,
    crop_kspace,
    random_lines,
    sensitivities,
    to_image,
    to_kspace,
)
from napari_dip.datasets._quantitative_head import DENSITY, VALUES, Folds, draw_folds, tissues

CENTER_LINES = 16  # in the center of k-space, which are always measured
HEAD_SIZE = 0.85  # of that which fills the field of view, so that it can move
ECHO_TIME = 0.06  # of the contrast [s]


@dataclass(frozen=True)
class MovingHead:
    """An image of a head, and its k-space, measured in shots between which it moved.

    Attributes
    ----------
    truth : (Y, X) complex64
        The image without noise, as it was during the shot that has the center of k-space; about 1 at
        most.
    maps : (coils, Y, X) complex64
        Coil sensitivities; their squares sum to 1 everywhere.
    kspace : (shots, coils, Y, X) complex64
        The unitary, centered Fourier transform of the image of each coil; 0 where not measured.
    motion : (shots, 3) float64
        Rotation and shift along Y and X of each shot. [degree, pixel]
    """

    truth: NDArray[np.complex64]
    maps: NDArray[np.complex64]
    kspace: NDArray[np.complex64]
    motion: NDArray[np.float64]


def moving_head(
    seed: int = 0,
    *,
    side: int = 128,
    coils: int = 8,
    shots: int = 16,
    acceleration: float = 2,
    motion: Literal["jumps", "drift", "none"] = "jumps",
    size: float = 5,
    order: Literal["interleaved", "sequential"] = "interleaved",
    unsteady: int = 0,
    noise: float = 0.01,
) -> MovingHead:
    """Simulate k-space of a head that turns and shifts between the shots of one image.

    For each shot the head is drawn at its place on a finer grid, so that no interpolation is in the
    data.

    Parameters
    ----------
    seed : int
        Of the folds, the motion, the sampling and the noise.
    side : int
        Height and width. [pixel]
    coils, shots : int
        Number of coils around the head, and of shots.
    acceleration : float
        Number of lines over that of measured lines: 16 in the center always, the others at random,
        more of them near the center.
    motion : {"jumps", "drift", "none"}
        A new place for each shot; or a slow drift with jitter; or a head that does not move.
    size : float
        Largest rotation, and largest shift along Y and X. [degree and pixel]
    order : {"interleaved", "sequential"}
        Whether each shot has lines everywhere in k-space, or neighboring ones.
    unsteady : int
        Number of shots in whose middle the head moves.
    noise : float
        Standard deviation of the noise in the real and in the imaginary part of k-space.

    Returns
    -------
    MovingHead

    Examples
    --------
    >>> from napari_dip.datasets import moving_head
    >>> moving_head(side=48, coils=4, shots=6).kspace.shape
    (6, 4, 48, 48)
    """
    rng = np.random.default_rng(seed)
    folds = draw_folds(rng)
    poses = _draw_poses(motion, shots, size, rng)
    rows = np.flatnonzero(random_lines(1, side, acceleration, CENTER_LINES, rng)[0])
    parts = [rows[s::shots] for s in range(shots)]
    if order == "sequential":
        parts = np.array_split(rows, shots)
    center = [np.count_nonzero(np.abs(part - side // 2 + 0.5) < 4) for part in parts]
    poses[int(np.argmax(center))] = 0
    other = _draw_poses("jumps", shots, size, rng)
    fine = OVERSAMPLING * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine - 0.5
    fine_maps = sensitivities(y, x, coils)
    kspace = np.zeros((shots, coils, side, side), complex)
    unsteady_shots = rng.permutation(np.flatnonzero(poses.any(axis=1)))[:unsteady]
    for shot, lines in enumerate(parts):
        halves = [(poses[shot], lines)]
        if shot in unsteady_shots:
            halves = [(poses[shot], lines[::2]), (other[shot], lines[1::2])]
        for pose, measured in halves:
            image = _head(y, x, pose, side, folds)
            whole = crop_kspace(to_kspace(image * fine_maps), side) / OVERSAMPLING
            real, imaginary = rng.normal(0, noise, (2, *whole.shape))
            kspace[shot, :, measured] = (whole + real + 1j * imaginary)[:, measured].swapaxes(0, 1)
    truth = to_image(crop_kspace(to_kspace(_head(y, x, np.zeros(3), side, folds)), side)) / OVERSAMPLING
    return MovingHead(
        truth=truth.astype(np.complex64),
        maps=coil_maps(fine_maps, side).astype(np.complex64),
        kspace=kspace.astype(np.complex64),
        motion=poses,
    )


def _draw_poses(motion: str, shots: int, size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Angle in degrees and shift in pixels of each shot, (shots, 3)."""
    if motion == "none":
        return np.zeros((shots, 3))
    if motion == "jumps":
        return rng.uniform(-size, size, (shots, 3))
    time = np.linspace(0, 1, shots)[:, None]
    return time * [size, size, -size] + rng.normal(0, 0.06 * size, (shots, 3))


def _head(
    y: NDArray[np.float64], x: NDArray[np.float64], pose: NDArray[np.float64], side: int, folds: Folds
) -> NDArray[np.complexfloating]:
    """The head at this pose, with a smooth phase of its own."""
    angle, down, across = np.deg2rad(pose[0]), y - pose[1] / side, x - pose[2] / side
    own_y = (np.cos(angle) * down - np.sin(angle) * across) / HEAD_SIZE
    own_x = (np.sin(angle) * down + np.cos(angle) * across) / HEAD_SIZE
    tissue = tissues(own_y, own_x, 1 / side, folds)
    contrast = np.array(DENSITY) * np.exp(-ECHO_TIME / np.array(VALUES["T2"]))
    phase = np.exp(1j * (0.8 * own_y - 0.5 * own_x**2))
    return np.asarray(contrast[tissue] / contrast.max() * phase)
