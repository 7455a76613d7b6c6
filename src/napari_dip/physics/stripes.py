"""Stripes: an offset of each row or column of a detector, estimated from the image alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.assessment import Finding
from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.physics._row_offsets import (
    MIN_LOG_LIKELIHOOD_RATIO,
    RowOffsets,
    measure_row_offsets,
)

StripeAxes: TypeAlias = Literal["off", "rows", "columns", "auto"]

RGB = 3  # channels
CHECKED_PX = 1024  # side of the middle of an image in which stripes are looked for
MIN_STRIPES = 0.2  # of the noise: weaker ones cannot be seen


@dataclass(frozen=True, eq=False)
class Stripes:
    """The offsets of all planes of an observation.

    Attributes
    ----------
    values : (T, C, Z, Y, 1) and (T, C, Z, 1, X) float32 arrays
        The offsets of the rows, and of the columns. [data units]
    note : str
        How strong they are, for the summary.
    """

    values: tuple[FloatArray, FloatArray]
    note: str

    def add_to(self, planes: FloatArray, factor: float = 1.0) -> FloatArray:
        """Return planes (T, C, Z, Y, X) with so many times the offsets; large ones are in a file."""
        rows, columns = self.values
        changed = arrays.empty(planes.shape, np.dtype(np.float32))
        for t, z in product(range(len(planes)), range(planes.shape[2])):
            changed[t, :, z] = planes[t, :, z] + factor * rows[t, :, z] + factor * columns[t, :, z]
        return changed


def remove_stripes(observation: Observation, axes: StripeAxes) -> tuple[Observation, Stripes | None]:
    """Return `observation` without stripes along `axes`, and the stripes, if it certainly has any."""
    stripes = find_stripes(observation, axes)
    if stripes is None:
        return observation, None
    y = stripes.add_to(observation.y, -1.0)
    y.setflags(write=False)
    return replace(observation, y=y), stripes


def find_stripes(observation: Observation, axes: StripeAxes) -> Stripes | None:
    """Return the stripes of `observation` along `axes`, if it has any.

    Each plane has its own offsets, where it certainly has some. For "auto" these are offsets of rows
    and of columns.
    """
    if axes == "off":
        return None
    shape = observation.y.shape
    values = np.zeros((*shape[:4], 1), np.float32), np.zeros((*shape[:3], 1, shape[4]), np.float32)
    strengths: dict[str, list[float]] = {"rows": [], "columns": []}
    for t, z in np.ndindex(shape[0], shape[2]):
        planes = np.where(observation.observed[t, :, z], observation.y[t, :, z], np.nan)
        for name, along, offsets in (
            ("rows", planes, values[0][t, :, z, :, 0]),
            ("columns", planes.swapaxes(1, 2), values[1][t, :, z, 0]),
        ):
            if axes in (name, "auto"):
                offsets[:], std = _measure_channels(along)
                strengths[name] += std[std > 0].tolist()
    notes = [
        f"offsets of {name} with a standard deviation of {np.median(stds):.3g} were removed"
        for name, stds in strengths.items()
        if stds
    ]
    return Stripes(values, "; ".join(notes)) if notes else None


def _measure_channels(
    planes: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The offsets of the rows of each channel (C, Y), and their standard deviations; 0 if unsure."""
    if len(planes) == RGB:
        steps = np.abs(np.diff(planes, axis=1)).reshape(RGB, -1)
        unit = np.nanmedian(steps, axis=1, keepdims=True)
        if np.all(unit > 0):
            offsets, std = _measure_colors(planes / unit[..., None])
            return unit * offsets, unit[:, 0] * std
    return _sure([measure_row_offsets(plane) for plane in planes])


def _measure_colors(
    planes: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of red, green and blue in units of their noise, from their mean and their contrasts.

    Most edges of a scene are in all colors alike, so that offsets are seen better in the contrasts.
    Those of the mean may be as large, and hidden by edges.
    """
    from scipy.fft import dct

    mixed = dct(planes, axis=0, norm="ortho")
    found = [measure_row_offsets(plane) for plane in mixed]
    if sure := [f.std for f in found if f.is_sure]:
        found = [
            f if f.is_sure else _unless_refuted(measure_row_offsets(plane, float(np.median(sure))))
            for f, plane in zip(found, mixed, strict=True)
        ]
    offsets, std = _sure(found)
    basis = dct(np.eye(RGB), axis=0, norm="ortho")
    return basis.T @ offsets, np.sqrt(basis.T**2 @ std**2)


def _unless_refuted(found: RowOffsets) -> RowOffsets:
    """Offsets of a given strength as sure ones, unless the plane certainly has none of this strength."""
    is_possible = found.log_likelihood_ratio > -MIN_LOG_LIKELIHOOD_RATIO
    return found._replace(log_likelihood_ratio=np.inf if is_possible else 0.0)


def _sure(found: Sequence[RowOffsets]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The offsets that are sure, and their standard deviations; 0 for the others."""
    offsets = [f.offsets if f.is_sure else np.zeros_like(f.offsets) for f in found]
    return np.array(offsets), np.array([f.std if f.is_sure else 0.0 for f in found])


def stripe_findings(observation: Observation, noise_std: FloatArray) -> Iterator[Finding]:
    """Yield whether the rows or columns in the middle of an observation have offsets.

    The standard deviation of the noise is (T, C, Z, Y, X).
    """
    middle = observation.y.shape[0] // 2, 0, observation.y.shape[2] // 2

    def central(planes: NDArray[Any]) -> NDArray[Any]:
        part = (arrays.central_slice(side, CHECKED_PX) for side in planes.shape[-2:])
        values: NDArray[Any] = planes[middle][*part]
        return values

    plane = np.where(central(observation.observed), central(observation.y), np.nan)
    noise = central(noise_std)
    sigma = float(np.median(noise[np.isfinite(noise)])) if np.isfinite(noise).any() else np.inf
    for name, along in (("rows", plane), ("columns", plane.T)):
        found = measure_row_offsets(along)
        if found.is_sure and found.std > MIN_STRIPES * sigma:
            yield Finding(
                "check",
                f"the {name} have offsets of {found.std / sigma:.2g} times the noise, which"
                f" noise.stripes = {name} removes",
            )
