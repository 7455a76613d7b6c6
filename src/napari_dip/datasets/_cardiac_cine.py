"""A beating heart of known truth, as several receive coils would measure it: simulated k-space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OVERSAMPLING = 3  # times finer the grid of the body than that of the images: no crime of inversion
CENTER_LINES = 4  # lines in the middle of k-space, which every frame has
HEART = (0.04, 0.06)  # centre of the left ventricle (y, x), in fields of view from the middle
BLOOD, WALL = 0.9, 0.35


@dataclass(frozen=True)
class CardiacCine:
    """A series of a beating heart, and what was measured of it.

    Attributes
    ----------
    truth : (T, Y, X) complex64
        The body as images of this size show it, without noise; about 1 at the most.
    maps : (coils, Y, X) complex64
        The coils' sensitivities; their squares sum to 1 everywhere.
    kspace : (T, coils, Y, X) complex64
        The unitary transform of each coil's image, its middle in the middle; 0 where not measured.
    sampled : (T, Y) bool
        Which lines were measured, frame by frame.
    area : (T,) float64
        The area of the left ventricle's blood. [pixel]
    heart : (slice, slice)
        Rows and columns of the heart.
    """

    truth: NDArray[np.complex64]
    maps: NDArray[np.complex64]
    kspace: NDArray[np.complex64]
    sampled: NDArray[np.bool_]
    area: NDArray[np.float64]
    heart: tuple[slice, slice]


def cardiac_cine(
    seed: int = 0,
    *,
    side: int = 96,
    beats: tuple[int, ...] = (10, 10),
    coils: int = 8,
    acceleration: float = 12,
    noise: float = 0.01,
) -> CardiacCine:
    """A short axis of the heart in a thorax, with lungs, liver and a smooth phase.

    The wall of the left ventricle keeps its area while it contracts. A beat that is shorter fills the
    ventricle less, and moves less.

    Parameters
    ----------
    seed : int
        Of texture, sampling and noise.
    side : int
        Height and width. [pixel]
    beats : tuple of int
        How many frames each beat takes: give different ones for an irregular heart.
    coils : int
        Around the body.
    acceleration : float
        How many times fewer lines are measured than there are: those in the middle always, the others
        at random, the more the nearer to it.
    noise : float
        Standard deviation of the noise in the real and in the imaginary part of k-space.

    References
    ----------
    .. [1] Lustig, Donoho, Pauly, "Sparse MRI", Magn. Reson. Med. 58 (2007) 1182 (random lines of
           varied density).
    """
    rng = np.random.default_rng(seed)
    fine = OVERSAMPLING * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine - 0.5
    still = _thorax(y, x, rng)
    phase = np.exp(1j * (0.6 * np.sin(3 * y + 1) + 0.5 * np.cos(4 * x) + 1.2 * y))
    sensitivities = _sensitivities(y, x, coils)
    truth, kspace, areas = [], [], []
    for strength in _contraction(beats):
        body, area = _with_heart(still, y, x, strength)
        picture = body * phase
        truth.append(to_image(_crop_kspace(to_kspace(picture), side) / OVERSAMPLING))
        kspace.append(_crop_kspace(to_kspace(picture * sensitivities), side) / OVERSAMPLING)
        areas.append(area / OVERSAMPLING**2)
    measured = np.array(kspace)
    grain = rng.normal(0, noise, (2, *measured.shape))
    sampled = _lines(len(truth), side, acceleration, rng)
    measured = np.where(sampled[:, None, :, None], measured + grain[0] + 1j * grain[1], 0)
    maps = to_image(_crop_kspace(to_kspace(sensitivities), side)) / OVERSAMPLING
    maps /= np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    middle = [round((0.5 + shift) * side) for shift in HEART]
    reach = round(0.2 * side)
    rows, columns = (slice(m - reach, m + reach) for m in middle)
    return CardiacCine(
        truth=np.array(truth, np.complex64),
        maps=maps.astype(np.complex64),
        kspace=measured.astype(np.complex64),
        sampled=sampled,
        area=np.array(areas),
        heart=(rows, columns),
    )


def to_kspace(image: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """The unitary Fourier transform along the last two axes, the middle in the middle."""
    return _centered_fft(image, np.fft.fft2)


def to_image(kspace: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """The inverse of `to_kspace`."""
    return _centered_fft(kspace, np.fft.ifft2)


def _centered_fft(
    planes: NDArray[np.complexfloating], transform: Callable[..., NDArray[Any]]
) -> NDArray[np.complexfloating]:
    axes = (-2, -1)
    transformed = transform(np.fft.ifftshift(planes, axes), norm="ortho")
    return np.asarray(np.fft.fftshift(transformed, axes))


def _crop_kspace(kspace: NDArray[np.complexfloating], side: int) -> NDArray[np.complexfloating]:
    start = (kspace.shape[-1] - side) // 2
    return kspace[..., start : start + side, start : start + side]


def _ellipse(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    centre: tuple[float, float],
    half: tuple[float, float],
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 < 1
    return inside


def _thorax(
    y: NDArray[np.float64], x: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The body without its heart, at full size."""
    from scipy.ndimage import gaussian_filter

    body = np.where(_ellipse(y, x, (0, 0), (0.40, 0.46)), 0.8, 0.0)  # fat
    body[_ellipse(y, x, (0, 0), (0.37, 0.43))] = 0.4  # muscle
    body[_ellipse(y, x, (-0.06, -0.25), (0.22, 0.13))] = 0.06  # lungs
    body[_ellipse(y, x, (-0.06, 0.27), (0.22, 0.11))] = 0.06
    body[_ellipse(y, x, (0.23, -0.17), (0.11, 0.20))] = 0.55  # liver
    body[_ellipse(y, x, (0.27, 0.02), (0.035, 0.035))] = 0.7  # vertebra
    body[_ellipse(y, x, (0.2, 0.1), (0.022, 0.022))] = BLOOD  # aorta
    texture = gaussian_filter(rng.normal(size=y.shape), 0.006 * len(y))
    return np.asarray(body * (1 + 0.06 * texture / texture.std()))


def _contraction(beats: tuple[int, ...]) -> list[float]:
    """How far the ventricle is contracted in each frame, from 0 to 1."""
    usual = sum(beats) / len(beats)
    strengths = []
    for frames in beats:
        at = np.arange(frames) / frames
        fuller = min(1.0, 0.35 + 0.65 * frames / usual)
        strengths += (fuller * np.sin(np.pi * at**0.7) ** 2).tolist()
    return strengths


def _with_heart(
    still: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64], strength: float
) -> tuple[NDArray[np.float64], float]:
    """The body with a heart that is contracted so far, and the area of the left ventricle's blood."""
    body, radius, wall = still.copy(), 0.095 * (1 - 0.38 * strength), 0.14**2 - 0.095**2
    outer = np.sqrt(radius**2 + wall)  # the muscle keeps its area
    right = (HEART[0] - 0.01, HEART[1] - 0.15)
    body[_ellipse(y, x, right, (0.115 - 0.02 * strength, 0.10 - 0.03 * strength))] = BLOOD - 0.05
    body[_ellipse(y, x, HEART, (outer, outer))] = WALL
    blood = _ellipse(y, x, HEART, (radius, radius))
    for angle in (0.9, 2.4):  # papillary muscles
        at = (HEART[0] + 0.6 * radius * np.sin(angle), HEART[1] + 0.6 * radius * np.cos(angle))
        blood &= ~_ellipse(y, x, at, (0.016, 0.016))
    body[blood] = BLOOD
    return body, float(blood.sum())


def _sensitivities(y: NDArray[np.float64], x: NDArray[np.float64], coils: int) -> NDArray[np.complex128]:
    """Of coils on a circle around the body, (coils, Y, X); their squares sum to 1."""
    maps = []
    for angle in 2 * np.pi * np.arange(coils) / coils:
        dy, dx = y - 0.55 * np.sin(angle), x - 0.55 * np.cos(angle)
        maps.append(np.exp(-(dy**2 + dx**2) / (2 * 0.35**2) + 1j * (2 * dy * np.cos(angle) + angle)))
    stack = np.array(maps)
    return np.asarray(stack / np.sqrt((np.abs(stack) ** 2).sum(axis=0)))


def _lines(frames: int, side: int, acceleration: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The lines that each frame measures, (frames, side)."""
    sampled = np.zeros((frames, side), bool)
    middle = slice((side - CENTER_LINES) // 2, (side + CENTER_LINES) // 2)
    distance = np.abs(np.arange(side) - (side - 1) / 2) / (side / 2)
    density = 0.05 + (1 - distance) ** 2
    density[middle] = 0
    number = max(round(side / acceleration) - CENTER_LINES, 0)
    for frame in sampled:
        frame[middle] = True
        frame[rng.choice(side, number, replace=False, p=density / density.sum())] = True
    return sampled
