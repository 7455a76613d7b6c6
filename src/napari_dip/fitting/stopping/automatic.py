"""The rule that fits what is known of the noise."""

from __future__ import annotations

from typing import Literal

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import Patient, Watch
from napari_dip.fitting.stopping.data_fission import Fission
from napari_dip.fitting.stopping.hold_out import HeldOut
from napari_dip.fitting.stopping.variance import Variance
from napari_dip.physics.noise import Character
from napari_dip.physics.problem import Problem


class Automatic(Patient):
    """By what is known of the noise.

    Noise fission where it is independent from pixel to pixel and as its model says. The variance of the
    images where neighbours share it: how they do is measured, but compression, say, does it in its own
    way. Held-out pixels where it has long tails, and where it cannot be told from structure.
    """

    kind: Literal["auto"] = "auto"

    def _watch(self, problem: Problem, generator: torch.Generator) -> Watch:
        rules: dict[Character, type[Patient]] = {"white": Fission, "correlated": Variance}
        rule = rules.get(problem.likelihood.character, HeldOut)
        patience = {"patience": self.patience, "relative_patience": self.relative_patience}
        return rule.model_validate(patience).watch(problem, generator)
