"""Resampling along one axis as a small matrix, with exact edges and an exact adjoint."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.header import Header

Kernel = Literal["lanczos2", "lanczos3", "area"]
ConserveFlux = Literal["auto", "yes", "no"]

# Units of what one pixel collects; finer pixels collect less. All others are a surface brightness.
_PER_PIXEL = {
    "adu", "dn", "count", "counts", "ct", "cts", "electron", "electrons", "e", "e-", "photon",
    "photons", "ph", "jy", "mjy", "ujy", "mujy", "njy", "maggy", "nmgy", "nanomaggy", "nanomaggies",
}  # fmt: skip
_DIVISOR = r"(seconds?|sec|s|pixel|pix|px)"
_RATE_OR_PIXEL = re.compile(rf"\s*/\s*{_DIVISOR}\b|[. *]+{_DIVISOR}(\^|\*\*)?-1\b")


def resampling_matrix(
    outputs: int, inputs: int, factor: float, kernel: Kernel, *, start: float = 0.0
) -> NDArray[np.float64]:
    """Return the weights (outputs, inputs) by which coarse pixels average fine ones; rows sum to 1.

    Coarse pixel j covers the fine axis from ``start + j * factor`` to ``start + (j + 1) * factor``,
    counted from the outer edge of the fine pixels. Kernels are stretched by `factor`, so that what
    coarse pixels cannot show is filtered out; at the edges they are truncated and normalized, as in
    Pillow.

    References
    ----------
    .. [1] Duchon, "Lanczos filtering in one and two dimensions", J. Appl. Meteorol. 18 (1979) 1016.
    """
    edges = start + factor * np.arange(outputs + 1)
    if kernel == "area":
        fine = np.arange(inputs)
        low = np.maximum(edges[:-1, None], fine)
        high = np.minimum(edges[1:, None], fine + 1)
        weights = np.clip(high - low, 0, None)
    else:
        lobes = int(kernel[-1])
        distance = (np.arange(inputs) + 0.5 - (edges[:-1, None] + factor / 2)) / factor
        weights = np.sinc(distance) * np.sinc(distance / lobes) * (np.abs(distance) < lobes)
    sums = weights.sum(axis=1, keepdims=True)
    return np.where(np.abs(sums) > 1e-6, weights / np.where(sums == 0, 1, sums), 0)


def flux_gain(
    conserve_flux: ConserveFlux, header: Header, factors: tuple[float, float]
) -> tuple[float, str]:
    """Return the value that a uniform scene of 1 has in the coarse pixels, and a note that says why."""
    unit = header.unit.strip()
    if conserve_flux == "auto":
        per_pixel = _base_unit(unit) in _PER_PIXEL
        why = f"unit {unit}" if unit else "no unit"
    else:
        per_pixel, why = conserve_flux == "yes", "as set"
    if per_pixel:
        return factors[0] * factors[1], f"values are per pixel ({why}): flux is conserved"
    return 1.0, f"values are a surface brightness ({why}): brightness is conserved"


def _base_unit(unit: str) -> str:
    """A unit without a rate and without "per pixel": ``counts`` for ``counts sec-1``, ``adu/pixel``."""
    return _RATE_OR_PIXEL.sub("", unit.lower().strip()).strip(" .*()")
