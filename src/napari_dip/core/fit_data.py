"""The data of one fit: the planes that one network explains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import (
    NOT_ON_IMAGE_GRID,
    BoolArray,
    ChannelLayout,
    FloatArray,
    crop_auxiliary,
)
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation, is_constant


@dataclass(frozen=True, eq=False)
class FitData:
    """The planes of an observation that are restored jointly, as (T, C, Y, X).

    Attributes
    ----------
    y : (T, C, Y, X) float32
        The data, in data units; NaN where nothing is observed. T is 1 unless the operator combines
        times: times and depths that are restored jointly are channels, in the order (T, C, Z).
    observed : (T, C, Y, X) bool
        False where data are missing.
    auxiliary : mapping of str to float32 array
        Auxiliary data as (T or 1, C, Y, X); they may have other sizes.
    header : Header
        What the file says about the image.
    channel_layout : ChannelLayout
        What the channels stand for.
    """

    y: FloatArray
    observed: BoolArray
    auxiliary: Mapping[str, FloatArray] = field(default_factory=dict)
    header: Header = field(default_factory=Header)
    channel_layout: ChannelLayout = field(default=ChannelLayout(1, 1, 1))

    @classmethod
    def from_observation(cls, observation: Observation, *, keep_times: bool = False) -> Self:
        """Take all planes of `observation`.

        Parameters
        ----------
        observation : Observation
            (T, C, Z, Y, X).
        keep_times : bool
            Keep the times apart, for an operator that combines them, and make channels of depths;
            otherwise times become channels, too.
        """
        times, channels, depths = observation.y.shape[:3]
        spacing = observation.header.pixel_ratio("Z")

        def flatten(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(1, -1, *array.shape[-2:])

        def merge_depths(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(len(array), -1, *array.shape[-2:])

        take = merge_depths if keep_times else flatten
        return cls(
            y=take(observation.y),
            observed=take(observation.observed),
            auxiliary={
                name: merge_depths(array) if name in NOT_ON_IMAGE_GRID else take(array)
                for name, array in observation.auxiliary.items()
            },
            header=observation.header,
            channel_layout=ChannelLayout(1, channels, 1, spacing)
            if keep_times
            else ChannelLayout(times, channels, depths, spacing),
        )

    @property
    def is_constant(self) -> bool:
        """Whether the observed pixels of each plane have the same value, or there are none."""
        return is_constant(self.y, self.observed)

    def crop(self, rows: slice, columns: slice) -> Self:
        """Return some rows and columns, with the auxiliary data on the same grid or a finer one."""
        auxiliary = {
            name: crop_auxiliary(name, array, self.y.shape[-2:], rows, columns)
            for name, array in self.auxiliary.items()
        }
        inside = (..., rows, columns)
        return replace(self, y=self.y[inside], observed=self.observed[inside], auxiliary=auxiliary)

    def concatenate_rows(self, others: Iterable[Self]) -> Self:
        """Return these data with `others` of the same width below."""
        parts = [self, *others]

        def joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate(list(arrays), axis=-2)

        auxiliary = {
            name: array if name in NOT_ON_IMAGE_GRID else joined(part.auxiliary[name] for part in parts)
            for name, array in self.auxiliary.items()
        }
        return replace(
            self,
            y=joined(part.y for part in parts),
            observed=joined(part.observed for part in parts),
            auxiliary=auxiliary,
        )


def iter_planes(observation: Observation) -> Iterator[tuple[tuple[slice, slice], FitData]]:
    """Yield each time and depth of `observation`, as slices, with the data there."""
    for t, z in product(range(observation.y.shape[0]), range(observation.y.shape[2])):
        slices = slice(t, t + 1), slice(z, z + 1)
        yield slices, FitData.from_observation(observation.select_planes(*slices))
