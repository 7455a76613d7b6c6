"""A simulated head in several contrasts, whose relaxation times and diffusion are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import SettingsError
from napari_dip.core.torch_import import torch

OVERSAMPLING = 3  # of the tissues, over the images: pixels at borders are mixtures
VARIATION = 0.05  # of the parameter within a tissue, at most
TISSUES = ("air", "white matter", "gray matter", "fluid", "fat", "lesion")
_WHITE, _GRAY, _FLUID, _FAT, _LESION = range(1, len(TISSUES))
DENSITY = (0.0, 0.70, 0.82, 1.00, 0.90, 0.80)
VALUES = {
    "T1": (1.0, 0.85, 1.33, 4.0, 0.35, 1.10),
    "T2": (1.0, 0.070, 0.085, 0.500, 0.070, 0.120),
    "ADC": (1.0, 0.75e-3, 0.85e-3, 3.0e-3, 0.1e-3, 1.2e-3),
}
LESIONS = ((-0.12, 0.13, 4), (0.10, -0.15, 8))  # center (y, x) in fields of view, diameter in pixels


Folds: TypeAlias = "list[tuple[int, float, float]]"


class Equation(Protocol):
    """A signal equation, as `napari_dip.physics.signals` has them."""

    @property
    def parameter(self) -> Any:
        """Name, unit and range of what is mapped."""

    def basis(self, value: torch.Tensor) -> torch.Tensor:
        """Return the signals of unit amplitude, (contrasts, 1, ...)."""


@dataclass(frozen=True)
class QuantitativeHead:
    """Images of a head, and what they are made of.

    Attributes
    ----------
    images : (T, Y, X) float32
        Magnitudes with noise, one for each contrast.
    truth : (T, Y, X) float32
        The same without noise.
    value : (Y, X) float32
        The parameter; at borders the mean of the tissues in a pixel, weighted by their density.
    tissue : (Y, X) uint8
        Index in `TISSUES` where a pixel and its neighbors consist of one tissue; 0 elsewhere.
    """

    images: NDArray[np.float32]
    truth: NDArray[np.float32]
    value: NDArray[np.float32]
    tissue: NDArray[np.uint8]


def quantitative_head(
    equation: Equation, seed: int = 0, *, side: int = 128, amplitude: float = 1.0, noise: float = 0.02
) -> QuantitativeHead:
    """Simulate magnitude images of a head, in the contrasts of a signal equation.

    White and gray matter, fluid, fat below the skin and two lesions, of 4 and 8 pixels, differ in proton
    density, T1, T2 and diffusion. Tissues vary smoothly by 5 %. The signals, and not the parameters, are
    averaged over each pixel.

    Parameters
    ----------
    equation : Signal
        Of T1, T2 or diffusion.
    seed : int
        Of the folds, the variation and the noise.
    side : int
        Height and width. [pixel]
    amplitude : float
        Signal of unit proton density.
    noise : float
        Standard deviation of the noise in the real and in the imaginary part.

    Returns
    -------
    QuantitativeHead

    Raises
    ------
    SettingsError
        If the equation is of something else.

    Examples
    --------
    >>> from napari_dip.datasets import quantitative_head
    >>> from napari_dip.physics.signals.t2 import EchoDecay
    >>> quantitative_head(EchoDecay(echo_times=(0.02, 0.04, 0.08)), side=48).images.shape
    (3, 48, 48)
    """
    from scipy.ndimage import gaussian_filter

    name = equation.parameter.name
    if name not in VALUES:
        raise SettingsError(f"the head has no {name}: it has {', '.join(VALUES)}")
    rng = np.random.default_rng(seed)
    fine = OVERSAMPLING * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine - 0.5
    tissue = tissues(y, x, 1 / side, draw_folds(rng))
    variation = gaussian_filter(rng.normal(size=tissue.shape), fine / 16)
    variation *= VARIATION / np.abs(variation).max()
    value = np.array(VALUES[name])[tissue] * (1 + variation)
    density = amplitude * np.array(DENSITY)[tissue]
    signals = equation.basis(torch.from_numpy(value))[:, 0].numpy() * density
    truth = _binned(signals)
    parts = truth + noise * rng.normal(size=truth.shape), noise * rng.normal(size=truth.shape)
    weight = _binned(density)
    mean = _binned(density * value) / np.where(weight > 0, weight, 1)
    return QuantitativeHead(
        images=np.hypot(*parts).astype(np.float32),
        truth=truth.astype(np.float32),
        value=mean.astype(np.float32),
        tissue=_pure(tissue),
    )


def draw_folds(rng: np.random.Generator) -> Folds:
    """Return the number, the depth and the phase of waves that fold the cortex."""
    return [(number, rng.uniform(0.3, 1), rng.uniform(0, 2 * np.pi)) for number in (9, 14, 21)]


def tissues(
    y: NDArray[np.float64], x: NDArray[np.float64], pixel: float, folds: Folds
) -> NDArray[np.int64]:
    """Return the index of the tissue at points in fields of view from the center; lesions have a size
    in pixels.
    """
    radius, angle = np.hypot(y / 0.44, x / 0.36), np.arctan2(y, x)
    wave = np.zeros_like(angle)
    for number, depth, phase in folds:
        wave += depth * np.sin(number * angle + phase)
    brain, white = 0.82 + 0.015 * wave, 0.66 + 0.05 * wave
    tissue = np.zeros(y.shape, np.int64)
    tissue[radius < 1.0] = _FAT
    tissue[radius < 0.93] = 0  # the skull
    tissue[radius < 0.88] = _FLUID
    tissue[radius < brain] = _GRAY
    tissue[radius < white] = _WHITE
    for side_of in (-1, 1):  # ventricles and deep gray matter
        tissue[np.hypot((y + 0.03) / 0.11, (x - 0.045 * side_of) / 0.025) < 1] = _FLUID
        tissue[np.hypot((y - 0.04) / 0.05, (x - 0.10 * side_of) / 0.035) < 1] = _GRAY
    for row, column, diameter in LESIONS:
        tissue[np.hypot(y - row, x - column) < diameter / 2 * pixel] = _LESION
    return tissue


def _binned(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means over the points of each pixel."""
    *others, height, width = planes.shape
    n = OVERSAMPLING
    means: NDArray[np.float64] = planes.reshape(*others, height // n, n, width // n, n).mean(
        axis=(-3, -1)
    )
    return means


def _pure(tissue: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The tissue of each pixel that lies among pixels of the same tissue."""
    from scipy.ndimage import maximum_filter, minimum_filter

    n = OVERSAMPLING
    middle = slice(n // 2, None, n)
    least, most = (f(tissue, 3 * n)[middle, middle] for f in (minimum_filter, maximum_filter))
    return np.where(least == most, most, 0).astype(np.uint8)
