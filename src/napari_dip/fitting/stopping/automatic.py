"""The rule that fits what is known of the noise."""

from __future__ import annotations

from typing import Literal

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import EarlyStopping, StoppingMonitor
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.fitting.stopping.hold_out import HoldOut
from napari_dip.fitting.stopping.variance import VarianceStopping
from napari_dip.physics.noise import NoiseKind
from napari_dip.physics.problem import Problem


class Automatic(EarlyStopping):
    """By what is known of the noise.

    Noise fission where it is independent from pixel to pixel and as its model says. The variance of the
    images where neighbours share it: how they do is measured, but compression, say, does it in its own
    way. Held-out pixels where it has long tails, and where it cannot be told from structure.
    """

    kind: Literal["auto"] = "auto"

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        rules: dict[NoiseKind, type[EarlyStopping]] = {
            "white": DataFission,
            "correlated": VarianceStopping,
        }
        rule = rules.get(problem.likelihood.kind, HoldOut)
        patience = {"patience": self.patience, "relative_patience": self.relative_patience}
        return rule.model_validate(patience).monitor(problem, generator)
