"""One restoration of a batch, as text, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_dip.core.errors import ReadError, SettingsError
from napari_dip.core.observation import Observation
from napari_dip.io import (
    FileFormat,
    check_writable,
    file_and_extension,
    read,
    read_auxiliary,
    read_first_image,
)
from napari_dip.run.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What one restoration needs, as text that can cross to another process or machine.

    Attributes
    ----------
    sources : tuple of str
        Input files, perhaps with the name of an extension in brackets; several become frames along T.
    target : str
        The file to write.
    recipe : str
        The recipe, as JSON.
    mask : str or None
        A file whose nonzero pixels are missing.
    auxiliary : tuple of (name, file)
        Auxiliary data that the recipe takes, such as a PSF.
    overwrite : bool
        Whether a target that exists, and was made otherwise, may be replaced.
    bad_flags : tuple of int or None
        Flags of the quality planes that are treated as missing. None: those of the telescope's
        convention.
    dtype : str
        Data type of the target: float32, or an integer type.
    format : str
        ``"auto"`` or ``"imagej"``.
    axes : str or None
        Axes of the sources. None: what the files say.
    """

    sources: tuple[str, ...]
    target: str
    recipe: str
    mask: str | None = None
    auxiliary: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    bad_flags: tuple[int, ...] | None = None
    dtype: str = "float32"
    format: FileFormat = "auto"
    axes: str | None = None

    def check(self) -> None:
        """Check before the work whether the job makes sense and its target can be written.

        Raises
        ------
        SettingsError
            If the recipe does not take such auxiliary data.
        ReadError
            If the target is one of the inputs.
        WriteError
            If it cannot be written, or exists and may not be replaced.
        """
        accepted = Recipe.from_json(self.recipe).auxiliary
        for name, file in self.auxiliary:
            if name not in accepted:
                takes = f"it takes {' and '.join(accepted)}" if accepted else "it takes none"
                raise SettingsError(f"the recipe takes no {name}, which is {file}: {takes}")
        target = Path(self.target)
        check_writable(target, overwrite=self.overwrite, format=self.format)
        for path in (*self.sources, *filter(None, [self.mask]), *(file for _, file in self.auxiliary)):
            source, _ = file_and_extension(path)
            if target.exists() and source.exists() and target.samefile(source):
                raise ReadError(f"{target} is an input: choose another name for the output")

    def observation(self) -> Observation:
        """Read the observation, with its mask and auxiliary data.

        Raises
        ------
        ReadError
            If a file does not exist or has no image.
        ObservationError
            If they do not match.
        """
        observation = read(*self.sources, bad_flags=self.bad_flags, axes=self.axes)
        if self.mask is not None:
            mask = read_first_image(self.mask)
            observation = observation.with_mask(mask.array, axes=mask.axes)
        for name, file in self.auxiliary:
            image = read_auxiliary(file)
            observation = observation.with_auxiliary(name, image.pixels, axes=image.axes)
        return observation


@dataclass(frozen=True)
class JobResult:
    """What became of one job: a row of the summary.

    `assessment` is that of the result, such as ``"check: ..."``; it is empty where there is none. The
    noise before and after is estimated in the same way in the input and in the result, in data
    units. `residual` is the r.m.s. residual over the noise, the median of all fits.
    """

    file: str
    output: str
    state: Literal["restored", "skipped", "failed"]
    assessment: str = ""
    reason: str = ""
    steps: int = 0
    sigma_before: float = float("nan")
    sigma_after: float = float("nan")
    residual: float = float("nan")
    seconds: float = float("nan")

    def describe(self) -> str:
        """Return a line for a person."""
        name = Path(self.output).name
        if self.state == "failed" or math.isnan(self.sigma_before):
            return f"{name}: {self.state}: {self.reason}"
        noise = f"noise {self.sigma_before:.4g} before, {self.sigma_after:.4g} after"
        return (
            f"{name}: {self.state}, {noise}, {self.steps} steps, {self.seconds:.0f} s; {self.assessment}"
        )


def failed_job(job: Job, reason: str) -> JobResult:
    """Return the result of a job that failed."""
    return JobResult(job.sources[0], job.target, "failed", reason=reason)
