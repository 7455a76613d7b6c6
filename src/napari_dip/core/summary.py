"""A result in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.provenance import MIN_RESIDUAL

if TYPE_CHECKING:
    from napari_dip.core.provenance import EnsembleRecord
    from napari_dip.core.result import Result

_SELF_SUPERVISION = {
    "recorrupted": "recorrupted data as network input",
    "masked": "masked data as network input",
}
_REFINEMENT = {
    "patches": "refined by similar patches",
    "spectrum": "refined by spectral shrinkage",
    "residual": "refined by residual correction",
}


def summarize(result: Result) -> str:
    """Return what a run did and found, in one line."""
    provenance = result.provenance
    noise, operator, ensemble = provenance.noise, provenance.operator, provenance.ensemble
    parts = [
        _describe_course(result),
        f"noise {noise.sigma_text} ({noise.source})",
        _describe_residual(noise.median_residual),
        _describe_flux_change(provenance.flux_change),
        _describe_strength(provenance.recipe.get("strength", 1.0)),
        _SELF_SUPERVISION.get(provenance.self_supervision, ""),
        _REFINEMENT.get(provenance.refinement, ""),
        "missed flux of small sources added back" if provenance.source_flux_corrected else "",
        f"{int(result.inpainted.sum()):,} pixels inpainted",
        operator.note,
        _describe_motion(result.motion),
        _describe_noise_gain(operator.noise_gain),
        _describe_uncertainty(ensemble),
        _describe_unreproduced(len(ensemble.unreproduced_sources)),
        provenance.notes,
    ]
    if result.scale_factor != (1.0, 1.0):
        parts.append(f"it predicts the data with a PSNR of {min(operator.data_psnr_db):.1f} dB")
    return "; ".join(filter(None, parts))


def _describe_course(result: Result) -> str:
    """Which steps were taken of how many, why and how fast."""
    selected, seconds = result.provenance.selected_step, f"in {result.provenance.seconds:.0f} s"
    if not result.steps:
        return f"{result.stop_reason}, {seconds}"
    at = f"step {selected[0]}" if len(selected) == 1 else f"steps {min(selected)} to {max(selected)}"
    return f"took {at} of {result.steps} {seconds}: {result.stop_reason}"


def _describe_residual(ratio: float) -> str:
    if not ratio > MIN_RESIDUAL:
        return ""
    return f"residual {ratio:.2f} times that (chi-square {ratio**2:.2f})"


def _describe_flux_change(change: float | None) -> str:
    return "" if change is None else f"flux changed by {100 * change:+z.3f} %"


def _describe_strength(strength: float) -> str:
    return "" if strength == 1 else f"strength {strength:g}, with a part of what was removed"


def _describe_motion(motion: FloatArray | None) -> str:
    if motion is None:
        return ""
    angle, shift = np.abs(motion[..., 0]).max(), np.hypot(motion[..., 1], motion[..., 2]).max()
    return f"motion of up to {angle:.1f} degrees and {shift:.1f} pixels"


def _describe_noise_gain(gains: Sequence[float | None]) -> str:
    known = [gain for gain in gains if gain is not None and np.isfinite(gain)]
    return f"noise of the image {np.median(known):.2g} times that of the data" if known else ""


def _describe_uncertainty(ensemble: EnsembleRecord) -> str:
    if ensemble.size == 1:
        return ""
    factors = [factor for factor in ensemble.calibration if factor is not None]
    if not factors:
        return "uncertainty: the spread of the fits, not calibrated"
    return f"uncertainty: {np.median(factors):.1f} times the spread of the fits, from held-out data"


def _describe_unreproduced(number: int) -> str:
    if not number:
        return ""
    return f"{number} small source{'s are' if number > 1 else ' is'} missing from most of the fits"
