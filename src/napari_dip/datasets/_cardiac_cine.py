"""Simulated k-space of a beating heart with known truth, as several receive coils measure it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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

CENTER_LINES = 4  # in the center of k-space, which each frame has
HEART = (0.04, 0.06)  # center of the left ventricle (y, x), in fields of view from the center
BLOOD, WALL = 0.9, 0.35
BREATH = 35  # frames
THICKENING = 0.15  # of the wall's area: another part of the heart comes into the slice with each breath


@dataclass(frozen=True)
class CardiacCine:
    """A series of images of a beating heart, and its k-space.

    Attributes
    ----------
    truth : (T, Y, X) complex64
        The images without noise; about 1 at most.
    maps : (coils, Y, X) complex64
        Coil sensitivities; their squares sum to 1 everywhere.
    kspace : (T, coils, Y, X) complex64
        The unitary, centered Fourier transform of the image of each coil; 0 where not measured.
    sampled : (T, Y) bool
        Which lines are measured, frame by frame.
    area : (T,) float64
        Area of the blood in the left ventricle. [pixel]
    center : (T, 2) float64
        Row and column of the center of the left ventricle. [pixel]
    heart : (slice, slice)
        Rows and columns of the heart.
    """

    truth: NDArray[np.complex64]
    maps: NDArray[np.complex64]
    kspace: NDArray[np.complex64]
    sampled: NDArray[np.bool_]
    area: NDArray[np.float64]
    center: NDArray[np.float64]
    heart: tuple[slice, slice]


def cardiac_cine(
    seed: int = 0,
    *,
    side: int = 96,
    beats: tuple[int, ...] = (10, 10),
    coils: int = 8,
    acceleration: float = 12,
    noise: float = 0.01,
    breathing: float = 0.0,
) -> CardiacCine:
    """Simulate a short-axis cine of the heart in a thorax, with lungs, liver and a smooth phase.

    The wall of the left ventricle keeps its area while it contracts. A shorter beat fills the ventricle
    less, and moves less. With each breath of 35 frames, the heart and the organs around it move down and
    back, and the area of the wall grows by up to 15 %; the outside of the body stays.

    Parameters
    ----------
    seed : int
        Of texture, sampling and noise.
    side : int
        Height and width. [pixel]
    beats : tuple of int
        Number of frames of each beat: different ones for an irregular heart.
    coils : int
        Number of coils around the body.
    acceleration : float
        Number of lines over that of measured lines: those in the center always, the others at random,
        more of them near the center.
    noise : float
        Standard deviation of the noise in the real and in the imaginary part of k-space.
    breathing : float
        How far the heart moves with each breath. [pixel]

    Returns
    -------
    CardiacCine

    References
    ----------
    .. [1] Lustig, Donoho, Pauly, "Sparse MRI", Magn. Reson. Med. 58 (2007) 1182 (random lines of
           variable density).
    .. [2] Lujan et al., "A method for incorporating organ motion due to breathing into 3D dose
           calculations", Med. Phys. 26 (1999) 715 (course of a breath).

    Examples
    --------
    >>> from napari_dip.datasets import cardiac_cine
    >>> cardiac_cine(side=48, coils=4, beats=(6,)).kspace.shape
    (6, 4, 48, 48)
    """
    rng = np.random.default_rng(seed)
    fine = OVERSAMPLING * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine - 0.5
    thorax = _Thorax(y, x, rng)
    fine_maps = sensitivities(y, x, coils)
    contraction = _contraction(beats)
    breath = np.sin(np.pi * np.arange(len(contraction)) / BREATH) ** 4
    shifts = breathing / side * breath
    walls = 1 + THICKENING * breath * (breathing != 0)
    bodies = map(thorax.with_heart, contraction, shifts, walls)
    truth, kspace, areas = _simulate_frames(bodies, y, x, fine_maps, side)
    measured, sampled = _sample(kspace, acceleration, noise, rng)
    row, column = ((0.5 + at) * side for at in HEART)
    reach = round(0.2 * side)
    rows = slice(round(row) - reach, round(row + breathing) + reach)
    columns = slice(round(column) - reach, round(column) + reach)
    return CardiacCine(
        truth=truth.astype(np.complex64),
        maps=coil_maps(fine_maps, side).astype(np.complex64),
        kspace=measured.astype(np.complex64),
        sampled=sampled,
        area=areas,
        center=np.stack((row + shifts * side, np.full(len(shifts), column)), axis=1) - 0.5,
        heart=(rows, columns),
    )


def _simulate_frames(
    bodies: Iterable[tuple[NDArray[np.float64], float]],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    fine_maps: NDArray[np.complex128],
    side: int,
) -> tuple[NDArray[np.complexfloating], NDArray[np.complexfloating], NDArray[np.float64]]:
    """Images (T, Y, X), k-space (T, coils, Y, X) and the area of the blood (T,), without noise."""
    phase = np.exp(1j * (0.6 * np.sin(3 * y + 1) + 0.5 * np.cos(4 * x) + 1.2 * y))
    truth, kspace, areas = [], [], []
    for frame, area in bodies:
        image = frame * phase
        truth.append(to_image(crop_kspace(to_kspace(image), side) / OVERSAMPLING))
        kspace.append(crop_kspace(to_kspace(image * fine_maps), side) / OVERSAMPLING)
        areas.append(area / OVERSAMPLING**2)
    return np.array(truth), np.array(kspace), np.array(areas)


def _sample(
    kspace: NDArray[np.complexfloating], acceleration: float, noise: float, rng: np.random.Generator
) -> tuple[NDArray[np.complexfloating], NDArray[np.bool_]]:
    """K-space with noise at the measured lines, 0 at the others; and which lines these are, (T, Y)."""
    real, imaginary = rng.normal(0, noise, (2, *kspace.shape))
    sampled = random_lines(len(kspace), kspace.shape[-1], acceleration, CENTER_LINES, rng)
    return np.where(sampled[:, None, :, None], kspace + real + 1j * imaginary, 0), sampled


def _ellipse(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    centre: tuple[float, float],
    half: tuple[float, float],
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 < 1
    return inside


def _contraction(beats: tuple[int, ...]) -> list[float]:
    """The contraction of the ventricle in each frame, from 0 to 1."""
    mean = sum(beats) / len(beats)
    strengths = []
    for frames in beats:
        at = np.arange(frames) / frames
        fuller = min(1.0, 0.35 + 0.65 * frames / mean)
        strengths += (fuller * np.sin(np.pi * at**0.7) ** 2).tolist()
    return strengths


class _Thorax:
    """The body on the fine grid."""

    def __init__(self, y: NDArray[np.float64], x: NDArray[np.float64], rng: np.random.Generator) -> None:
        from scipy.ndimage import gaussian_filter

        self._y, self._x = y, x
        texture = gaussian_filter(rng.normal(size=y.shape), 0.006 * len(y))
        self._texture = texture / texture.std()
        radius = np.hypot(y / 0.37, x / 0.43)  # 1 at the ribs
        self._mobility = np.clip((1 - radius) / 0.4, 0, 1)

    def with_heart(
        self, strength: float, shift: float, wall: float
    ) -> tuple[NDArray[np.float64], float]:
        """Return the body with a heart of this contraction, and the area of its left ventricle's blood.

        The heart is moved down by `shift` fields of view, and the area of the wall of its left ventricle
        is `wall` times the usual one.
        """
        body = self._without_heart(shift)
        y, x = self._y - shift, self._x
        radius, section = 0.095 * (1 - 0.38 * strength), wall * (0.14**2 - 0.095**2)
        outer = np.sqrt(radius**2 + section)  # which contraction does not change
        right = (HEART[0] - 0.01, HEART[1] - 0.15)
        body[_ellipse(y, x, right, (0.115 - 0.02 * strength, 0.10 - 0.03 * strength))] = BLOOD - 0.05
        body[_ellipse(y, x, HEART, (outer, outer))] = WALL
        blood = _ellipse(y, x, HEART, (radius, radius))
        for angle in (0.9, 2.4):  # papillary muscles
            at = (HEART[0] + 0.6 * radius * np.sin(angle), HEART[1] + 0.6 * radius * np.cos(angle))
            blood &= ~_ellipse(y, x, at, (0.016, 0.016))
        body[blood] = BLOOD
        return body, float(blood.sum())

    def _without_heart(self, shift: float) -> NDArray[np.float64]:
        from scipy.ndimage import map_coordinates

        y, x, texture = self._y, self._x, self._texture
        if shift:
            y = y - shift * self._mobility
            texture = map_coordinates(texture, ((y + 0.5) * len(y) - 0.5, (x + 0.5) * len(y) - 0.5))
        body = np.where(_ellipse(y, x, (0, 0), (0.40, 0.46)), 0.8, 0.0)  # fat
        body[_ellipse(y, x, (0, 0), (0.37, 0.43))] = 0.4  # muscle
        body[_ellipse(y, x, (-0.06, -0.25), (0.22, 0.13))] = 0.06  # lungs
        body[_ellipse(y, x, (-0.06, 0.27), (0.22, 0.11))] = 0.06
        body[_ellipse(y, x, (0.23, -0.17), (0.11, 0.20))] = 0.55  # liver
        body[_ellipse(y, x, (0.27, 0.02), (0.035, 0.035))] = 0.7  # vertebra
        body[_ellipse(y, x, (0.2, 0.1), (0.022, 0.022))] = BLOOD  # aorta
        return np.asarray(body * (1 + 0.06 * texture))
