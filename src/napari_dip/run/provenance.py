"""What a run records of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from napari_dip.core import arrays
from napari_dip.core.assessment import Assessment
from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.provenance import (
    EnsembleRecord,
    InputRecord,
    NoiseRecord,
    OperatorRecord,
    Provenance,
    software_versions,
)
from napari_dip.core.result import History
from napari_dip.core.torch_import import torch
from napari_dip.run.assessment import run_findings
from napari_dip.run.block_report import BlockReport
from napari_dip.run.recipe import Recipe

MAX_UNREPRODUCED = 1000  # places of sources that a file remembers


@dataclass(frozen=True)
class RunRecord:
    """What only the run knows: its reports, notes, duration and device."""

    reports: Sequence[BlockReport]
    histories: Sequence[History]
    unreproduced_sources: Sequence[tuple[int, ...]]
    scale_factor: tuple[float, float]
    notes: str
    seconds: float
    device: torch.device


def collect(
    recipe: Recipe,
    observation: Observation,
    residual: FloatArray,
    noise_std: FloatArray,
    record: RunRecord,
) -> Provenance:
    """Return how the result of `recipe` for `observation` was made.

    The residual and the noise are shaped as the data.
    """
    reports, last = record.reports, record.reports[-1]
    has_flux = not recipe.operator.has_complex_scene
    findings = [finding for report in reports for finding in report.findings]
    findings += run_findings(recipe, observation, record.histories, residual, noise_std)
    return Provenance(
        recipe=recipe.model_dump(mode="json"),
        assessment=Assessment.from_findings(findings),
        input=input_record(observation),
        noise=NoiseRecord(
            sigma=tuple(report.sigma for report in reports),
            source=last.noise_source,
            residual=tuple(report.residual for report in reports),
        ),
        operator=OperatorRecord(
            note="; ".join(dict.fromkeys(report.operator_note for report in reports)),
            scale_factor=record.scale_factor,
            data_psnr_db=tuple(report.data_psnr_db for report in reports),
            noise_gain=tuple(report.measures.noise_gain for report in reports),
            motion=tuple(report.motion for report in reports if report.motion),
        ),
        ensemble=EnsembleRecord(
            size=recipe.ensemble.size,
            calibration=tuple(
                report.calibration if recipe.ensemble.size > 1 else None for report in reports
            ),
            unreproduced_sources=tuple(record.unreproduced_sources[:MAX_UNREPRODUCED]),
        ),
        flux_change=flux_change(observation, residual) if has_flux else None,
        self_supervision=last.self_supervision,
        refinement=last.refinement,
        source_flux_corrected=any(report.source_flux_corrected for report in reports),
        selected_step=tuple(history.selected_step for history in record.histories),
        steps=sum(len(history.loss) for history in record.histories),
        stop_reason=record.histories[-1].stop_reason,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(record.seconds, 3),
        device=record.device.type,
        precision=str(recipe.compute.resolve_precision(record.device)).removeprefix("torch."),
        num_threads=torch.get_num_threads(),
        notes=record.notes,
        versions=software_versions(),
    )


def input_record(observation: Observation) -> InputRecord:
    """Return what is recorded of the input."""
    return InputRecord(observation.header.path, observation.digest(), observation.axes)


def flux_change(observation: Observation, residual: FloatArray) -> float | None:
    """Return the relative difference between the sum of the predicted data and that of the data.

    It is None about a level of 0. The residual is shaped as the data.
    """
    blocks = list(arrays.iter_blocks(observation.y.shape))
    total = sum(float(np.nansum(observation.y[block], dtype=float)) for block in blocks)
    size = sum(float(np.nansum(np.abs(observation.y[block]), dtype=float)) for block in blocks)
    return -float(np.nansum(residual, dtype=float)) / total if abs(total) > 0.01 * size else None
