"""What came out of the fits to one block, and what the provenance records of it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.result import History
from napari_dip.run.assessment import FitMeasures


@dataclass(frozen=True)
class BlockReport:
    """What the provenance records of one block, or of a tile of it.

    Attributes
    ----------
    sigma : tuple of float or None
        Median noise of each plane; None where nothing is observed.
    noise_source : str
        Where these numbers come from.
    residual : float
        R.m.s. residual over the noise.
    self_supervision, refinement : str
        The methods that were used.
    source_flux_corrected : bool
        Whether flux was added back to small sources.
    operator_note : str
        The note of the operator.
    motion : tuple of (degrees, y, x)
        Rotation and shift of each exposure; empty if the scene does not move. [degree, pixel]
    data_psnr_db : float
        How well the result predicts the data.
    measures : FitMeasures
        What the data say about the result.
    findings : tuple of Finding
        What is wrong with it.
    fallback : str
        What was changed because a first fit failed; empty if nothing was.
    calibration : float or None
        Ratio of the uncertainty to the spread of the fits.
    unreproduced_sources : tuple of (row, column)
        Small sources, in pixels of the visible part, that most fits lack.
    """

    sigma: tuple[float | None, ...]
    noise_source: str
    residual: float
    self_supervision: str
    refinement: str
    source_flux_corrected: bool
    operator_note: str
    motion: tuple[tuple[float, ...], ...]
    data_psnr_db: float
    measures: FitMeasures
    findings: tuple[Finding, ...]
    fallback: str
    calibration: float | None
    unreproduced_sources: tuple[tuple[int, int], ...]


def motion_record(motion: FloatArray) -> tuple[tuple[float, ...], ...]:
    """Return `Operator.motion` as a file keeps it."""
    return tuple(tuple(round(float(value), 4) for value in pose) for pose in motion)


@dataclass(frozen=True, eq=False)
class FittedBlock:
    """What came out of one block, or of a tile of it, as arrays.

    Attributes
    ----------
    x, std : (C, H, W) float32
        The visible part of the scene, and the standard deviation of its error.
    uncovered : (C, H, W) bool
        Pixels that no datum constrains.
    residual, noise_std : (T, C, Y, X) float32
        The data minus what `x` predicts, and their noise.
    histories : list of History
        One for each fit.
    report : BlockReport
        What the provenance records.
    """

    x: FloatArray
    std: FloatArray
    uncovered: BoolArray
    residual: FloatArray
    noise_std: FloatArray
    histories: list[History]
    report: BlockReport
