"""Iterates and results: frozen pictures of a run, made to cross threads and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.header import Header
from napari_dip.core.summary import (
    describe_flux_change,
    describe_residual,
    describe_uncertainty,
    describe_unreproduced,
)


@dataclass(frozen=True, eq=False)
class History:
    """The course of one fit: one entry for each step.

    Attributes
    ----------
    loss : (steps,) float32
        Mean negative log-likelihood of the fitted pixels.
    statistic : (steps,) float32
        The stopping statistic of the running average.
    chosen : int
        The step whose image was taken, counted from 1; 0 where the frame was not restored.
    reason : str
        Why the fit ended, as a sentence.
    """

    loss: FloatArray
    validation_loss: FloatArray
    selected_step: int
    stop_reason: str


@dataclass(frozen=True, eq=False)
class Result:
    """A restored image and how it came about.

    Attributes
    ----------
    image : float32 array with the input's axes, less T where frames were combined
        The restoration, in data units. NaN in frames that were not reached.
    filled : bool array of the same shape
        Pixels that no observed datum shows: the prior made them up.
    residual : float32 array of the input's shape
        y - A x where observed, NaN elsewhere.
    noise : float32 array of the residual's shape
        One standard deviation of the noise in each datum, as the result implies it.
    uncertainty : float32 array of the image's shape, or None
        One standard deviation of the image's error, in data units; None where there was one fit only.
    axes, residual_axes : str
        The axes of image and filled, and of the residual.
    history : tuple of History
        One for each fit, frame by frame, part by part.
    provenance : mapping of str to JSON values
        The whole recipe, versions, device, digest of the input, noise level.
    header : Header
        What the input's file said, with its coordinates on the result's grid.
    zoom : (float, float)
        Pixels of the result in one of the input, along Y and X; the grids share their outer edges.
    """

    image: FloatArray
    inpainted: BoolArray
    residual: FloatArray
    noise_std: FloatArray
    uncertainty: FloatArray | None
    axes: str
    residual_axes: str
    history: tuple[History, ...]
    provenance: Mapping[str, Any]
    header: Header = field(default_factory=Header)
    scale_factor: tuple[float, float] = (1.0, 1.0)

    @property
    def normalized_residual(self) -> FloatArray:
        """The residual in standard deviations of the noise: 1 in the mean square, where all is well."""
        found: FloatArray = arrays.empty(self.residual.shape, np.float32)
        return np.divide(self.residual, self.noise_std, out=found)

    def magnitude(self) -> Result:
        """The same of the magnitude of a complex image, whose channels are real and imaginary parts."""
        channel = self.axes.index("C")
        return replace(
            self,
            image=np.hypot(*np.moveaxis(self.image, channel, 0)),
            inpainted=np.asarray(self.inpainted.any(axis=channel)),
            uncertainty=None,
            axes=self.axes.replace("C", ""),
            header=replace(self.header, channels=()),
        )

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a file remembers: the provenance, and the verdict."""
        return {**self.provenance, "verdict": self.summary}

    @property
    def stop_reason(self) -> str:
        """Why the run stopped, as a sentence; with several fits, why the last of them did."""
        reasons = [history.stop_reason for history in self.history]
        return reasons[0] if len(reasons) == 1 else f"{len(reasons)} fits; the last: {reasons[-1]}"

    @property
    def steps(self) -> int:
        """Steps taken over all frames."""
        return sum(len(history.loss) for history in self.history)

    @property
    def summary(self) -> str:
        """What the run did and found, in one line."""
        chosen = [history.selected_step for history in self.history]
        at = f"step {chosen[0]}" if len(chosen) == 1 else f"steps {min(chosen)} to {max(chosen)}"
        noise, operator = self.provenance["noise"], self.provenance["operator"]
        sigma = next(value for frame in noise["sigma"] for value in frame if value is not None)
        splits = {"recorrupted": "data split by their noise", "masked": "data split by pixels"}
        looks = {
            "patches": "alike patches estimated together",
            "spectrum": "frequencies of noise taken out",
            "residual": "what neighbouring residuals had in common returned",
        }
        said = [
            f"took {at} of {self.steps} in {self.provenance['seconds']:.0f} s: {self.stop_reason}",
            f"noise {sigma:.4g} ({noise['origin']})",
            describe_residual(noise["residual"]),
            describe_flux_change(self.provenance["flux_change"]),
            splits.get(self.provenance["split"], ""),
            looks.get(self.provenance["refinement"], ""),
            "what was left of small sources' light returned" if self.provenance["sources"] else "",
            f"{int(self.inpainted.sum()):,} pixels filled",
            operator["remark"],
            describe_uncertainty(self.provenance["ensemble"]),
            describe_unreproduced(len(self.provenance["ensemble"]["doubtful"])),
            self.provenance["remark"],
        ]
        if self.scale_factor != (1.0, 1.0):
            said.append(f"it predicts the input to {min(operator['consistency_db']):.1f} dB")
        return "; ".join(filter(None, said))


def full_nan(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array of NaN: nothing is known there yet."""
    return arrays.full(shape, np.nan, np.float32)
