"""The rule that suits the kind of the noise."""

from __future__ import annotations

from typing import Literal

from napari_dip.core.noise_properties import NoiseKind
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping, StoppingMonitor
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.fitting.stopping.hold_out import HoldOut
from napari_dip.fitting.stopping.variance import VarianceStopping
from napari_dip.physics.problem import Problem


class Automatic(EarlyStopping):
    """The rule that suits the kind of the noise.

    Data fission where the noise is independent from pixel to pixel and as its model says. The variance
    of the images where it is correlated: its correlation is measured, but is not always that of smoothed
    noise (compression). Held-out pixels where it is heavy-tailed, or cannot be distinguished from
    structure.
    """

    kind: Literal["auto"] = "auto"

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        rules: dict[NoiseKind, type[EarlyStopping]] = {
            "white": DataFission,
            "correlated": VarianceStopping,
        }
        rule = rules.get(problem.likelihood.properties.kind, HoldOut)
        patience = {"patience": self.patience, "relative_patience": self.relative_patience}
        return rule.model_validate(patience).monitor(problem, generator)
