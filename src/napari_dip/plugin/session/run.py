"""One run as the window knows it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.plugin.layers.result_layers import ResultLayers
from napari_dip.plugin.session.worker import Controls
from napari_dip.run.recipe import Recipe
from napari_dip.run.warm_start import WarmStart

if TYPE_CHECKING:
    from napari.layers import Labels


SNAPSHOT_EVERY = 50  # steps


class State(StrEnum):
    """What a session is doing, in the words the dock shows."""

    IDLE = "Ready"
    RUNNING = "Running"
    PAUSED = "Paused"
    FINISHING = "Finishing"
    CANCELLING = "Cancelling"


@dataclass(eq=False)
class Run:
    """One run: what it was given, its layers, and once it has ended its result.

    Attributes
    ----------
    snapshots : list of (int, array)
        The images along the way that are kept, with their steps, `every` so many.
    starts : Starts
        Its fit, as long as it can be run on.
    """

    recipe: Recipe
    observation: Observation | None
    """None once it is forgotten."""
    layers: ResultLayers
    warm_start: WarmStart
    observe: Callable[[Labels | None], Observation]
    """The layers as they are now, with these holes."""
    source: Hashable
    """By which the layer that is restored knows itself."""
    is_stack: bool
    is_complex: bool
    controls: Controls = field(default_factory=Controls)
    snapshots: list[tuple[int, FloatArray]] = field(default_factory=list)
    snapshot_every: int = SNAPSHOT_EVERY
    result: Result | None = None

    def free(self) -> None:
        """Give back what only the last run is good for; its layers stay."""
        self.warm_start.clear()
        self.snapshots, self.observation = [], None

    @property
    def steps(self) -> list[int]:
        """Those that can be picked for a result instead of the one that was chosen."""
        if self.is_stack or self.is_complex or self.recipe.ensemble.size > 1:
            return []
        return [step for step, _ in self.snapshots]

    def store_snapshot(self, step: int, image: FloatArray, most: float) -> None:
        """Keep an image along the way; beyond `most` bytes every other one goes."""
        if self.snapshots and self.snapshots[-1][0] >= step:  # the fit is over, its second look is not
            return
        self.snapshots.append((step, image))
        if len(self.snapshots) * image.nbytes > most and len(self.snapshots) > 1:
            self.snapshot_every *= 2
            self.snapshots = [kept for kept in self.snapshots if kept[0] % self.snapshot_every == 0]
