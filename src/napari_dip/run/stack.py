"""Stacks: which planes of an image are restored together, and which one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.run.alignment import Drift

Place: TypeAlias = "tuple[slice, slice]"


class Stack(Settings):
    """What is done with axes besides the channels, which are always restored together.

    Planes that are restored together are the output of one network, which is given all of them: what
    they share is learnt once, with the light of all.
    """

    together: Literal["none", "T", "Z", "TZ"] = "none"
    """Axes whose planes are restored together: time (T), depth (Z), both, or none, frame by frame."""
    window: Annotated[int, Field(ge=2, le=1000)] = 32
    """Most times that are restored together; longer series go in windows of equal length, each with the
    network of the one before. [frame]"""
    steady: bool = False
    """Whether times that are restored together are first laid over each other, by whole pixels: for
    scenes that drift as a whole."""

    def drift(self, observation: Observation) -> Drift | None:
        """How the times drift, where that is asked for and matters.

        Raises
        ------
        SettingsError
            If times are not restored together.
        """
        if not self.steady:
            return None
        if "T" not in self.together:
            raise SettingsError(
                "stack.steady lays times over each other that are restored together: let stack.together"
                " name T, or switch it off"
            )
        drift = Drift.of(observation)
        return drift if any(drift.reach) else None

    def blocks(
        self, observation: Observation, *, joint: bool = False
    ) -> Iterator[tuple[Place, Observation]]:
        """What is restored at a time: the times and depths, and that part of the `observation`.

        Each part has the shape (1, C, 1, Y, X), with the planes that are restored together as its
        channels; (T, C, 1, Y, X) with `joint`, where an operator takes all times by itself.

        Raises
        ------
        SettingsError
            If times are to be restored together that the operator combines.
        """
        times, depths = observation.y.shape[0], observation.y.shape[2]
        for place in self.places(times, depths, joint=joint):
            part = observation.part(*place)
            yield place, part if joint else part.folded()

    def places(self, times: int, depths: int, *, joint: bool = False) -> Iterator[Place]:
        """The times and depths that are restored at a time, of so many.

        Raises
        ------
        SettingsError
            If times are to be restored together that the operator combines.
        """
        if joint and "T" in self.together:
            raise SettingsError(
                "stack.together names T, but the operator takes all times by itself: choose none, or Z"
            )
        length = times if joint else min(self.window, times) if "T" in self.together else 1
        for when in _runs(times, length):
            for where in _runs(depths, depths if "Z" in self.together else 1):
                yield when, where


def _runs(number: int, longest: int) -> Iterator[slice]:
    """Runs of equal length that cover `number` places; where they cannot, the last ones overlap."""
    runs = math.ceil(number / longest)
    length = math.ceil(number / runs)
    for run in range(runs):
        start = min(run * length, number - length)
        yield slice(start, start + length)
