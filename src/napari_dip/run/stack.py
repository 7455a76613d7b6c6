"""Stacks: which planes of an image are restored jointly, and which separately."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from napari_dip.core.errors import SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.run.alignment import FrameAlignment

BlockSlices: TypeAlias = "tuple[slice, slice]"


class Stack(Settings):
    """What is done with the axes besides the channels, which are always restored jointly.

    Planes that are restored jointly are the output of one network, which is given all of them: what they
    share is learned once, from all of their data.
    """

    joint_axes: Literal["none", "T", "Z", "TZ"] = "none"
    """Axes whose planes are restored jointly: time (T), depth (Z), both, or none, plane by plane."""
    window_length: Annotated[int, Field(ge=2, le=1000)] = 32
    """Largest number of times that are restored jointly; longer series are restored in windows of equal
    length, each starting with the network of the one before. [frame]"""
    align: Literal["auto", "always", "never"] = "auto"
    """Whether times that are restored jointly are aligned first, by whole pixels. Automatic: where the
    scene drifts as a whole, so that frames predict each other better once they are aligned."""

    @field_validator("align", mode="before")
    @classmethod
    def _from_switch(cls, value: Any) -> Any:
        """Recipes once had a switch here."""
        return ("always" if value else "never") if isinstance(value, bool) else value

    def estimate_alignment(self, observation: Observation) -> FrameAlignment | None:
        """Return how the times are shifted, if they are to be aligned and are shifted at all.

        Raises
        ------
        SettingsError
            If times are not restored jointly.
        """
        if self.align == "never":
            return None
        if "T" not in self.joint_axes:
            if self.align == "auto":
                return None
            raise SettingsError(
                "stack.align aligns times that are restored jointly: include T in stack.joint_axes, or"
                " switch it off",
                setting="stack.align",
            )
        if len(observation.y) == 1:
            return None
        alignment = FrameAlignment.from_frames(observation)
        is_useful = alignment.is_sure and not alignment.obstacle(observation)
        is_wanted = is_useful or self.align == "always"
        return alignment if is_wanted and any(alignment.max_shift) else None

    def iter_blocks(
        self, observation: Observation, *, combines_time: bool = False
    ) -> Iterator[tuple[BlockSlices, FitData]]:
        """Yield the times and depths that one network fits at a time, and their data.

        The planes are channels, (1, C, Y, X); with `combines_time`, where an operator combines all
        times, these stay apart, (T, C, Y, X).

        Raises
        ------
        SettingsError
            If times are to be restored jointly that the operator combines, or planes along an axis that
            the image lacks.
        """
        times, depths = observation.y.shape[0], observation.y.shape[2]
        self._check_axes(times, depths, observation.axes)
        for slices in self.iter_slices(times, depths, combines_time=combines_time):
            part = observation.select_planes(*slices)
            yield slices, FitData.from_observation(part, keep_times=combines_time)

    def _check_axes(self, times: int, depths: int, axes: str) -> None:
        """Refuse a stack whose planes lie along another axis than those that are restored jointly."""
        planes = {"T": times, "Z": depths}
        if self.joint_axes == "none" or max(planes[letter] for letter in self.joint_axes) > 1:
            return
        for other in set("TZ") - set(self.joint_axes):
            if planes[other] > 1:
                wanted = axes.replace(self.joint_axes, "").replace(other, self.joint_axes)
                raise SettingsError(
                    f"stack.joint_axes is {self.joint_axes}, and the image has {planes[other]} planes"
                    f" along {other}: if they are {self.joint_axes}, say so with --axes {wanted} or"
                    f" axes='{wanted}'; else choose another recipe",
                    setting="stack.joint_axes",
                )

    def iter_slices(
        self, times: int, depths: int, *, combines_time: bool = False
    ) -> Iterator[BlockSlices]:
        """Yield the slices of `times` and `depths` that one network fits at a time.

        Raises
        ------
        SettingsError
            If times are to be restored jointly that the operator combines.
        """
        if combines_time and "T" in self.joint_axes:
            raise SettingsError(
                "stack.joint_axes includes T, but the operator combines all times: choose none, or Z",
                setting="stack.joint_axes",
            )
        joint_times = min(self.window_length, times) if "T" in self.joint_axes else 1
        for time_slice in _windows(times, times if combines_time else joint_times):
            for depth_slice in _windows(depths, depths if "Z" in self.joint_axes else 1):
                yield time_slice, depth_slice


def _windows(length: int, max_size: int) -> Iterator[slice]:
    """Slices of equal size that cover `length`; the last ones overlap if they have to."""
    number = math.ceil(length / max_size)
    size = math.ceil(length / number)
    for window in range(number):
        start = min(window * size, length - size)
        yield slice(start, start + size)
