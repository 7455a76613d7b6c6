"""One restoration of a batch, as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_dip.core.errors import ReadError, SettingsError
from napari_dip.core.observation import Observation
from napari_dip.io import (
    check_writable,
    file_and_extension,
    read,
    read_first_image,
)
from napari_dip.run.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What one restoration needs, as text that can cross to another process or machine.

    Attributes
    ----------
    sources : tuple of str
        Input files, perhaps with an extension's name in brackets; several become frames along T.
    target : str
        The file to write.
    recipe : str
        JSON of the recipe.
    holes : str or None
        A file whose pixels other than 0 are missing.
    companions : tuple of (name, file)
        What the recipe takes besides, such as a PSF.
    overwrite : bool
        Whether a target that is there and was made otherwise may be replaced.
    flags : tuple of int or None
        Which flags of the sources' quality planes are holes; None: those of the telescope's convention.
    dtype : str
        Type of the target's pixels: float32, or one of whole numbers.
    imagej : bool
        Whether the target is to be ImageJ's own TIFF.
    """

    sources: tuple[str, ...]
    target: str
    recipe: str
    mask: str | None = None
    auxiliary: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    bad_flags: tuple[int, ...] | None = None
    dtype: str = "float32"
    imagej: bool = False

    def check(self) -> None:
        """Find out before the work whether the job makes sense and its target can be written.

        Raises
        ------
        SettingsError
            If the recipe does not take such a companion.
        ReadError
            If the target is one of the inputs.
        WriteError
            If it cannot be written, or exists and may not be replaced.
        """
        takes = Recipe.from_json(self.recipe).auxiliary
        for name, file in self.auxiliary:
            if name not in takes:
                wanted = " or ".join(f"{extra}=FILE" for extra in takes) or "nothing"
                raise SettingsError(f"--with {name}={file}: the recipe takes {wanted}")
        target = Path(self.target)
        check_writable(target, overwrite=self.overwrite, imagej=self.imagej)
        for path in (*self.sources, *filter(None, [self.mask]), *(file for _, file in self.auxiliary)):
            source, _ = file_and_extension(path)
            if target.exists() and source.exists() and target.samefile(source):
                raise ReadError(f"{target} is an input itself; choose another name for the output")

    def observation(self) -> Observation:
        """What was measured, with its holes and companions.

        Raises
        ------
        ReadError
            If a file is not there or holds no image.
        ObservationError
            If they do not fit each other.
        """
        observation = read(*self.sources, flags=self.bad_flags)
        if self.mask is not None:
            observation = observation.with_mask(read_first_image(self.mask).array)
        for name, file in self.auxiliary:
            image = read_first_image(file)
            pixels = image.array if image.mask is None else np.where(image.mask, np.nan, image.array)
            observation = observation.with_auxiliary(name, pixels, axes=image.axes)
        return observation


@dataclass(frozen=True)
class JobResult:
    """What became of one job: a row of the summary.

    The noise is that of the quiet parts, estimated alike in the input and in the result; in data
    units.
    """

    file: str
    output: str
    state: Literal["restored", "skipped", "failed"]
    stop_reason: str = ""
    steps: int = 0
    sigma_before: float = float("nan")
    sigma_after: float = float("nan")
    seconds: float = float("nan")


def failed_job(job: Job, reason: str) -> JobResult:
    return JobResult(job.sources[0], job.target, "failed", reason)
