"""What every forward operator is: settings that build a linear map with its adjoint."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch


class OperatorSettings(Settings, ABC):
    """Settings of one kind of forward operator."""

    kind: str
    auxiliary: ClassVar[tuple[str, ...]] = ()
    """Names of the companions that `build` takes from the observation, where they are there."""
    combines_time: ClassVar[bool] = False
    """Whether the operator takes all frames along T at once."""

    has_complex_scene: ClassVar[bool] = False
    """Whether the scene's two channels are real and imaginary parts."""

    def result_axes(self, axes: str) -> str:
        """The axes of the result, of data with these `axes`: T goes where its frames show one scene."""
        return axes.replace("T", "") if self.combines_time else axes

    @property
    def supports_tiling(self) -> bool:
        """Whether a frame can be restored crop by crop."""
        return not self.combines_time

    @abstractmethod
    def build(self, data: FitData) -> Operator:
        """The operator for one frame, an observation of shape (T, C, 1, Y, X); T is 1 unless `joint`.

        Raises
        ------
        ObservationError
            If the frame lacks what the operator needs.
        """

    @abstractmethod
    def make_example(self, seed: int) -> Observation:
        """A small observation that this operator explains; for tests, docs and sample data."""


class Operator(ABC):
    """A linear map A from the scene x (C, H, W) to the noise-free data A x (T, C, Y, X).

    Attributes
    ----------
    scene_shape : (C, H, W)
        The scene, with whatever of it lies beyond the frame and yet contributes to the data.
    window : pair of slices
        The rows and columns of the scene that the result shows.
    zoom : (float, float)
        Pixels of the scene in one of the data, along Y and X.
    gain : float
        What an even scene of 1 becomes in the data.
    background : float or tensor (T, C, 1, 1)
        What the data show besides A x. [data units]
    planes : Planes
        What the scene's channels stand for; None: the same as those of the frame.
    copies : bool
        Whether A x is x itself, so that data can be put back into the scene bit by bit.
    remark : str
        What was found out while building it, for the person to read.
    """

    scene_shape: tuple[int, int, int]
    valid_region: tuple[slice, slice] = (slice(None), slice(None))
    scale_factor: tuple[float, float] = (1.0, 1.0)
    dc_gain: float = 1.0
    background: float | torch.Tensor = 0.0
    is_identity: bool = False
    scene_layout: ChannelLayout | None = None
    note: str = ""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """A^H y, so that <A x, y> = <x, A^H y>."""

    def coverage(self, observed: torch.Tensor) -> torch.Tensor:
        """How much of each place of the scene `observed` data (T, C, Y, X) show, (C, H, W)."""
        return self.adjoint(observed.float())

    def initial_estimate(self, y: torch.Tensor, observed: torch.Tensor) -> torch.Tensor | None:
        """A rough picture of the scene, (C, H, W), where the data are no picture of it themselves."""
        return None

    def to(self, device: torch.device) -> Self:
        """The same map with its tensors on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(moved, name, value.to(device))
        return moved
