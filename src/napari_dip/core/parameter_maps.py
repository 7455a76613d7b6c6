"""Maps of what a signal equation says of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from napari_dip.core.axes import FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class ParameterMaps:
    """Maps of the parameters of a signal equation.

    Attributes
    ----------
    maps : mapping of str to float32 array
        Each parameter by its name, such as ``"T2"`` and ``"amplitude"``; NaN where an image is missing.
        Where the images say nothing of the first one, as in air, it is NaN, too: the bound of its error
        is more than twice its value.
    std : mapping of str to float32 array
        The Cramer-Rao bound of the standard deviation of each for a pixel alone: without its neighbors
        no unbiased estimate has a smaller error. Infinite where the images say nothing of it.
    uncertainty : mapping of str to float32 array, or None
        The standard deviation of the error of each map, for a result of several fits
        (``quality="best"``): from one more fit, to data that are simulated from the result.
    units : mapping of str to str
        Their units; those of the data are empty.
    chi_square : float32 array
        Squared residual over the variance of the noise and the degrees of freedom (for the prior, the
        number of images): about 1 where the equation holds.
    sigma : float
        Standard deviation of the noise. [data units]
    axes : str
        The axes of all of them.
    """

    maps: Mapping[str, FloatArray]
    std: Mapping[str, FloatArray]
    uncertainty: Mapping[str, FloatArray] | None
    units: Mapping[str, str]
    chi_square: FloatArray
    sigma: float
    axes: str

    def planes(self) -> Iterator[tuple[str, FloatArray, str]]:
        """Yield the name, the values and the unit of all maps, of their bounds and errors, and of
        chi-square.
        """
        for name, values in self.maps.items():
            yield name, values, self.units[name]
        for name, values in self.std.items():
            yield f"{name} std", values, self.units[name]
        for name, values in (self.uncertainty or {}).items():
            yield f"{name} uncertainty", values, self.units[name]
        yield "chi-square", self.chi_square, ""

    def __repr__(self) -> str:
        names = ", ".join(f"{name} [{unit}]" if unit else name for name, unit in self.units.items())
        return f"ParameterMaps({names}; {self.axes} {self.chi_square.shape})"
