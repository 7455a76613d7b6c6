"""A fixed number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping.base import StoppingMonitor, StoppingSettings
from napari_dip.physics.problem import Problem


class FixedSteps(StoppingSettings):
    """Continue to the last step, and keep the moving average there."""

    kind: Literal["fixed"] = "fixed"

    def _monitor(self, problem: Problem, generator: torch.Generator) -> StoppingMonitor:
        return FixedStepsMonitor(problem, lambda average, x: problem.loss(average))


@dataclass
class FixedStepsMonitor(StoppingMonitor):
    """Never stops by itself."""

    fit_problem: Problem
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    restore_best: bool = False

    def stop_reason(self, scores: NDArray[np.float32]) -> str | None:
        return None
