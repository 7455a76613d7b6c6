"""Stacks: which planes of an image are restored together, and which one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.run.alignment import FrameAlignment

BlockSlices: TypeAlias = "tuple[slice, slice]"


class Stack(Settings):
    """What is done with axes besides the channels, which are always restored together.

    Planes that are restored together are the output of one network, which is given all of them: what
    they share is learnt once, with the light of all.
    """

    joint_axes: Literal["none", "T", "Z", "TZ"] = "none"
    """Axes whose planes are restored together: time (T), depth (Z), both, or none, frame by frame."""
    window_length: Annotated[int, Field(ge=2, le=1000)] = 32
    """Most times that are restored together; longer series go in windows of equal length, each with the
    network of the one before. [frame]"""
    align: bool = False
    """Whether times that are restored together are first laid over each other, by whole pixels: for
    scenes that drift as a whole."""

    def estimate_alignment(self, observation: Observation) -> FrameAlignment | None:
        """How the times drift, where that is asked for and matters.

        Raises
        ------
        SettingsError
            If times are not restored together.
        """
        if not self.align:
            return None
        if "T" not in self.joint_axes:
            raise SettingsError(
                "stack.align lays times over each other that are restored together: let stack.joint_axes"
                " name T, or switch it off"
            )
        drift = FrameAlignment.from_frames(observation)
        return drift if any(drift.max_shift) else None

    def iter_blocks(
        self, observation: Observation, *, joint: bool = False
    ) -> Iterator[tuple[BlockSlices, Observation]]:
        """What is restored at a time: the times and depths, and that part of the `observation`.

        Each part has the shape (1, C, 1, Y, X), with the planes that are restored together as its
        channels; (T, C, 1, Y, X) with `joint`, where an operator takes all times by itself.

        Raises
        ------
        SettingsError
            If times are to be restored together that the operator combines.
        """
        times, depths = observation.y.shape[0], observation.y.shape[2]
        for place in self.iter_slices(times, depths, joint=joint):
            part = observation.select_planes(*place)
            yield place, part if joint else part.flatten_planes()

    def iter_slices(self, times: int, depths: int, *, joint: bool = False) -> Iterator[BlockSlices]:
        """The times and depths that are restored at a time, of so many.

        Raises
        ------
        SettingsError
            If times are to be restored together that the operator combines.
        """
        if joint and "T" in self.joint_axes:
            raise SettingsError(
                "stack.joint_axes names T, but the operator takes all times by itself: choose none, or Z"
            )
        length = times if joint else min(self.window_length, times) if "T" in self.joint_axes else 1
        for when in _windows(times, length):
            for where in _windows(depths, depths if "Z" in self.joint_axes else 1):
                yield when, where


def _windows(number: int, longest: int) -> Iterator[slice]:
    """Runs of equal length that cover `number` places; where they cannot, the last ones overlap."""
    runs = math.ceil(number / longest)
    length = math.ceil(number / runs)
    for run in range(runs):
        start = min(run * length, number - length)
        yield slice(start, start + length)
