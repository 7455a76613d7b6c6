"""What simulations of magnetic resonance share: coils, k-space and which lines of it are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

OVERSAMPLING = (
    3  # of the simulated body, over the images: so the truth is not in the reconstruction's grid
)


def sensitivities(y: NDArray[np.float64], x: NDArray[np.float64], coils: int) -> NDArray[np.complex128]:
    """Return the sensitivities of coils around the body, (coils, Y, X); their squares sum to 1."""
    maps = []
    for angle in 2 * np.pi * np.arange(coils) / coils:
        dy, dx = y - 0.55 * np.sin(angle), x - 0.55 * np.cos(angle)
        maps.append(np.exp(-(dy**2 + dx**2) / (2 * 0.35**2) + 1j * (2 * dy * np.cos(angle) + angle)))
    stack = np.array(maps)
    return np.asarray(stack / np.sqrt((np.abs(stack) ** 2).sum(axis=0)))


def coil_maps(fine: NDArray[np.complex128], side: int) -> NDArray[np.complexfloating]:
    """Return sensitivities on a `fine` grid on the grid of the images; their squares sum to 1."""
    maps = to_image(crop_kspace(to_kspace(fine), side)) / OVERSAMPLING
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0)))


def to_kspace(image: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """Return the unitary, centered Fourier transform along the last two axes."""
    return _centered_fft(image, np.fft.fft2)


def to_image(kspace: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """Return the inverse of `to_kspace`."""
    return _centered_fft(kspace, np.fft.ifft2)


def _centered_fft(
    planes: NDArray[np.complexfloating], transform: Callable[..., NDArray[Any]]
) -> NDArray[np.complexfloating]:
    axes = (-2, -1)
    transformed = transform(np.fft.ifftshift(planes, axes), norm="ortho")
    return np.asarray(np.fft.fftshift(transformed, axes))


def crop_kspace(kspace: NDArray[np.complexfloating], side: int) -> NDArray[np.complexfloating]:
    """Return the middle of k-space, `side` lines of as many samples."""
    start = (kspace.shape[-1] - side) // 2
    return kspace[..., start : start + side, start : start + side]


def random_lines(
    frames: int, side: int, acceleration: float, center: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which lines are measured, (frames, side): some in the center, the others at random."""
    sampled = np.zeros((frames, side), bool)
    middle = slice((side - center) // 2, (side + center) // 2)
    distance = np.abs(np.arange(side) - (side - 1) / 2) / (side / 2)
    density = 0.05 + (1 - distance) ** 2
    density[middle] = 0
    number = max(round(side / acceleration) - center, 0)
    for frame in sampled:
        frame[middle] = True
        frame[rng.choice(side, number, replace=False, p=density / density.sum())] = True
    return sampled
