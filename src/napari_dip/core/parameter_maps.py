"""Maps of what a signal equation says of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_dip.core.assessment import Assessment


@dataclass(frozen=True, eq=False, repr=False)
class ParameterMaps:
    """Maps of the parameters of a signal equation.

    Attributes
    ----------
    maps : mapping of str to float32 array
        Each parameter by its name, such as ``"T2"`` and ``"amplitude"``; NaN where an image is missing.
    std : mapping of str to float32 array
        The Cramer-Rao bound of the standard deviation of each for a pixel alone: without its neighbors
        no unbiased estimate has a smaller error. Infinite where the images say nothing of it.
    units : mapping of str to str
        Their units; those of the data are empty.
    chi_square : float32 array
        Squared residual over the variance of the noise and the degrees of freedom (for the prior, the
        number of images): about 1 where the equation holds.
    sigma : float
        Standard deviation of the noise. [data units]
    axes : str
        The axes of all of them.
    assessment : Assessment or None
        Whether the fit of the prior can be used; None where pixels were fitted alone.
    """

    maps: Mapping[str, NDArray[Any]]
    std: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    chi_square: NDArray[Any]
    sigma: float
    axes: str
    assessment: Assessment | None = None

    def __repr__(self) -> str:
        names = ", ".join(f"{name} [{unit}]" if unit else name for name, unit in self.units.items())
        return f"ParameterMaps({names}; {self.axes} {self.chi_square.shape})"
