"""Iterates and results: frozen pictures of a run, made to cross threads and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import Flags, Floats
from napari_dip.core.header import Header
from napari_dip.core.summary import _doubt, _flux, _left_over, _trust


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

    loss: Floats
    statistic: Floats
    chosen: int
    reason: str


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

    image: Floats
    filled: Flags
    residual: Floats
    noise: Floats
    uncertainty: Floats | None
    axes: str
    residual_axes: str
    history: tuple[History, ...]
    provenance: Mapping[str, Any]
    header: Header = field(default_factory=Header)
    zoom: tuple[float, float] = (1.0, 1.0)

    @property
    def residual_in_noise(self) -> Floats:
        """The residual in standard deviations of the noise: 1 in the mean square, where all is well."""
        found: Floats = arrays.empty(self.residual.shape, np.float32)
        return np.divide(self.residual, self.noise, out=found)

    def magnitude(self) -> Result:
        """The same of the magnitude of a complex image, whose channels are real and imaginary parts."""
        channel = self.axes.index("C")
        return replace(
            self,
            image=np.hypot(*np.moveaxis(self.image, channel, 0)),
            filled=np.asarray(self.filled.any(axis=channel)),
            uncertainty=None,
            axes=self.axes.replace("C", ""),
            header=replace(self.header, channels=()),
        )

    @property
    def record(self) -> Mapping[str, Any]:
        """What a file remembers: the provenance, and the verdict."""
        return {**self.provenance, "verdict": self.verdict}

    @property
    def reason(self) -> str:
        """Why the run stopped, as a sentence; with several fits, why the last of them did."""
        reasons = [history.reason for history in self.history]
        return reasons[0] if len(reasons) == 1 else f"{len(reasons)} fits; the last: {reasons[-1]}"

    @property
    def steps(self) -> int:
        """Steps taken over all frames."""
        return sum(len(history.loss) for history in self.history)

    @property
    def verdict(self) -> str:
        """What the run did and found, in one line."""
        chosen = [history.chosen for history in self.history]
        at = f"step {chosen[0]}" if len(chosen) == 1 else f"steps {min(chosen)} to {max(chosen)}"
        noise, operator = self.provenance["noise"], self.provenance["operator"]
        sigma = next(value for frame in noise["sigma"] for value in frame if value is not None)
        splits = {"noise": "data split by their noise", "pixels": "data split by pixels"}
        looks = {
            "patches": "alike patches estimated together",
            "spectrum": "frequencies of noise taken out",
            "residual": "what neighbouring residuals had in common returned",
        }
        said = [
            f"took {at} of {self.steps} in {self.provenance['seconds']:.0f} s: {self.reason}",
            f"noise {sigma:.4g} ({noise['origin']})",
            _left_over(noise["residual"]),
            _flux(self.provenance["flux_change"]),
            splits.get(self.provenance["split"], ""),
            looks.get(self.provenance["refinement"], ""),
            "what was left of small sources' light returned" if self.provenance["sources"] else "",
            f"{int(self.filled.sum()):,} pixels filled",
            operator["remark"],
            _trust(self.provenance["ensemble"]),
            _doubt(len(self.provenance["ensemble"]["doubtful"])),
            self.provenance["remark"],
        ]
        if self.zoom != (1.0, 1.0):
            said.append(f"it predicts the input to {min(operator['consistency_db']):.1f} dB")
        return "; ".join(filter(None, said))


def blank(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array of NaN: nothing is known there yet."""
    return arrays.full(shape, np.nan, np.float32)
