"""A result in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def describe_residual(residuals: Sequence[float]) -> str:
    """What the result leaves of the data: as much as the noise, where all is well."""
    ratio = np.median(residuals)
    return f"residual {ratio:.2f} times that (chi-square {ratio**2:.2f})" if ratio > 0.005 else ""


def describe_flux_change(change: float | None) -> str:
    """What became of the sum of all observed pixels."""
    return "" if change is None else f"flux changed by {100 * change:+.3f} %"


def describe_uncertainty(ensemble: Mapping[str, Any]) -> str:
    """How the uncertainty came about, where there is one."""
    if ensemble["members"] == 1:
        return ""
    factors = [factor for factor in ensemble["calibration"] if factor is not None]
    if not factors:
        return "uncertainty: what the fits disagree, not calibrated"
    return f"uncertainty: {np.median(factors):.1f} times what the fits disagree, by data not fitted"


def describe_unreproduced(number: int) -> str:
    """What is not to be trusted because not every fit shows it."""
    if not number:
        return ""
    return f"{number} small source{'s are' if number > 1 else ' is'} not in most of the fits"
