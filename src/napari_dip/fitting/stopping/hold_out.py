"""Hold-out: pixels that are not fitted validate the image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping, PatienceMonitor, StoppingMonitor
from napari_dip.physics.problem import Problem
from napari_dip.physics.splitting import hold_out


class HoldOut(EarlyStopping):
    """Hold out some pixels and stop when their error no longer falls.

    Noise that is independent from pixel to pixel cannot be predicted: the error of pixels that the
    network never saw is the error of the image plus a constant.

    References
    ----------
    .. [1] Stone, "Cross-validatory choice and assessment of statistical predictions", J. R. Stat.
           Soc. B 36 (1974) 111, doi:10.1111/j.2517-6161.1974.tb00994.x
    """

    kind: Literal["hold-out"] = "hold-out"
    validation_fraction: Annotated[float, Field(gt=0, le=0.2)] = 0.02
    """Fraction of the observed pixels that is held out."""

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        training, validation = hold_out(problem, self.validation_fraction, generator)

        def error(average: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return validation.robust_loss(average)

        name = "error of the held-out pixels"
        return PatienceMonitor(self, training, error, name, validation.observed)
