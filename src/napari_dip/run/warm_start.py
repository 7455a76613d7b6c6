"""What the fits of a run start with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from napari_dip.fitting.solver import Fit
from napari_dip.prior.generator import Prior
from napari_dip.prior.initialization import Weights
from napari_dip.run.recipe import Recipe


class WarmStart:
    """What the fits of one run begin with, scene after scene: seeds, and what was learnt before.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    fit : Fit, optional
        One to run on, of the same recipe to the same scene.
    weights : mapping of int to Weights, optional
        What the network of each member of the ensemble begins with.
    """

    def __init__(
        self, recipe: Recipe, *, fit: Fit | None = None, weights: Mapping[int, Weights] | None = None
    ) -> None:
        self._recipe, self._blocks = recipe, 0
        self._member = 0
        self._resumed_fit = fit
        self.fit: Fit | None = None
        """The fit that is under way, or was the last."""
        self.weights: dict[int, Weights] = dict(weights or {})
        """The last network of each member of the ensemble, where the next begins with it."""

    @property
    def is_single_fit(self) -> bool:
        """Whether there is one fit, which can be run on."""
        return self._blocks == self._recipe.ensemble.size == 1

    def resume(self) -> WarmStart:
        """What a run begins with that goes on where the only fit of this one stands."""
        return WarmStart(self._recipe, fit=self.fit)

    def restart(self) -> WarmStart:
        """What a run begins with that fits other data of the same scene, with what was learnt so far."""
        learnt = {self._member: self.fit.prior.weights()} if self.fit else {}
        return WarmStart(self._recipe, weights=self.weights | learnt)

    def clear(self) -> None:
        """Give the memory of the fit and of all weights back."""
        self.fit = self._resumed_fit = None
        self.weights.clear()

    def start_fit(self, member: int, new_fit: Callable[[], Fit]) -> Fit:
        """The fit of a member to the next scene: the one to run on, or one that is `begun`."""
        self._member, self.fit = member, None  # not two at a time
        self.fit, self._resumed_fit = self._resumed_fit or new_fit(), None
        return self.fit

    def seeds(self) -> list[int]:
        """Those of the next scene's fits: others, and so other codes, where the network knows a code."""
        first = self._recipe.seed
        if self.weights:
            first = int(np.random.default_rng([first, self._blocks]).integers(2**31))
        self._blocks += 1
        return self._recipe.ensemble.seeds(first)

    def store_weights(self, member: int, prior: Prior) -> None:
        """What the `prior` of one member has learnt, for the next scene."""
        if self._recipe.solver.warm_start:
            self.weights[member] = prior.weights()
