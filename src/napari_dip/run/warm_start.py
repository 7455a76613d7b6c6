"""What the fits of a run start with: seeds, and the networks of earlier fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.fit_data import FitData
from napari_dip.fitting.solver import Fit
from napari_dip.physics.registration import edge_map, show_same_scene
from napari_dip.prior.amortized import AmortizedPrior
from napari_dip.prior.generator import Prior
from napari_dip.prior.initialization import Weights
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.recipe import Recipe

COMPARED_PX = 1024  # side of the middle of two frames, in which their fields are compared


class WarmStart:
    """What the fits of a run start with, block after block.

    Parameters
    ----------
    recipe : Recipe
        That of the run.
    fit : Fit, optional
        A fit to continue, of the same recipe to the same data.
    weights : mapping of int to Weights, optional
        Weights that the network of each member of the ensemble starts with.
    num_fits : int, optional
        How many fits of the ensemble are made. Default: all.
    checkpoint : Checkpoint, optional
        What is kept of the fits, and was kept of those of a run that was killed. Default: nothing.

    Attributes
    ----------
    checkpoint : Checkpoint
    fit : Fit or None
        The current fit, or the last one.
    first_step : int
        Steps that a continued fit had taken before.
    weights : dict of int to Weights
        The last weights of each member of the ensemble, where the next block starts with them.
    is_amortized : bool
        Whether the last fit was one to crops, which cannot be continued.
    notes : list of str
        Where amortized fits began, for the summary.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        fit: Fit | None = None,
        weights: Mapping[int, Weights] | None = None,
        num_fits: int | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._recipe, self._num_blocks, self._member = recipe, 0, 0
        self._num_fits = num_fits
        self._resumed_fit, self.checkpoint = fit, checkpoint or Checkpoint()
        self.first_step = fit.step if fit else 0
        self._field: NDArray[np.float64] | None = None
        self._source = "the frame before"
        self.fit: Fit | None = None
        self.is_amortized = False
        self.weights: dict[int, Weights] = dict(weights or {})
        self.notes: list[str] = []

    @property
    def is_single_fit(self) -> bool:
        """Whether the run consists of one fit, which can be continued."""
        return self._num_blocks == self._recipe.ensemble.size == 1

    @property
    def is_cold(self) -> bool:
        """Whether there is neither a fit to continue, nor weights to start with."""
        return self._resumed_fit is None and not self.weights

    def resume(self) -> WarmStart:
        """Return the start of a run that continues the only fit of this one."""
        return WarmStart(self._recipe, fit=self.fit)

    def restart(self) -> WarmStart:
        """Return the start of a run that fits other data of the same scene, with the current weights."""
        current = {self._member: self.fit.prior.weights()} if self.fit else {}
        return WarmStart(self._recipe, weights=self.weights | current)

    def next_frame(self, source: str) -> WarmStart:
        """Return the start of a run of the same recipe for another frame of the camera.

        Parameters
        ----------
        source : str
            Name of the frame of this run, for the summary of the next.
        """
        if not self.is_amortized:
            return WarmStart(self._recipe)
        start = WarmStart(self._recipe, weights=self.weights)
        start._field, start._source = self._field, source
        return start

    def clear(self) -> None:
        """Free the memory of the fit and of all weights."""
        self.fit = self._resumed_fit = None
        self.weights.clear()

    def start_fit(self, member: int, new_fit: Callable[[], Fit]) -> Fit:
        """Return the fit of a member to the next block: the one to continue, or a `new_fit`."""
        self._member, self.fit = member, None  # never two at a time
        if self._resumed_fit is not None:
            self._resumed_fit.extend()
        self.fit, self._resumed_fit = self._resumed_fit or new_fit(), None
        return self.fit

    def start_amortized(self, data: FitData) -> dict[int, Weights]:
        """Return the weights with which amortized fits to `data` start; none if all start anew."""
        rows, columns = (
            slice(max(0, (n - COMPARED_PX) // 2), (n + COMPARED_PX) // 2) for n in data.y.shape[-2:]
        )
        last, self._field = self._field, edge_map(data.y[0, :, rows, columns])
        self.is_amortized = True
        if not self.weights or last is None:
            return dict(self.weights)
        if self._recipe.solver.warm_start == "auto" and show_same_scene(last, self._field):
            self._add_note("frames of one field, each with a new network")
            return {}
        self._add_note(f"begun with the network of {self._source}")
        return dict(self.weights)

    def _add_note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def seeds(self) -> list[int]:
        """Return the seeds of the fits to the next block.

        They differ from block to block where a network is reused, which knows its last input.
        """
        first = self._recipe.seed
        if self.weights:
            first = int(np.random.default_rng([first, self._num_blocks]).integers(2**31))
        self._num_blocks += 1
        return self._recipe.ensemble.seeds(first)[: self._num_fits]

    def store_weights(self, member: int, prior: Prior | AmortizedPrior) -> None:
        """Keep the weights of a member for the next block, if the recipe says so."""
        if self._recipe.solver.warm_start != "never":
            self.weights[member] = prior.weights()
