"""The interface of a forward operator: settings that build a linear map with its adjoint."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self, TypeAlias

import numpy as np

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import ChannelLayout, FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

NoiseStd: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


class OperatorSettings(Settings, ABC):
    """Settings of one kind of forward operator."""

    kind: str
    auxiliary: ClassVar[tuple[str, ...]] = ()
    """Names of the auxiliary data that it takes from the observation."""
    combines_time: ClassVar[bool] = False
    """Whether it takes all times at once."""
    has_complex_scene: ClassVar[bool] = False
    """Whether the channels of the scene are real and imaginary parts."""

    def result_axes(self, axes: str) -> str:
        """Return the axes of the result for data with these `axes`: without T if times are combined."""
        return axes.replace("T", "") if self.combines_time else axes

    @property
    def supports_tiling(self) -> bool:
        """Whether an image can be restored in tiles."""
        return not self.combines_time

    @property
    def reduced(self) -> OperatorSettings:
        """The operator of the data that `reduce` returns: itself, if nothing is to be reduced."""
        return self

    def reduce(self, observation: Observation) -> tuple[Observation, FloatArray]:
        """Return all that `observation` says of the scene as data of the operator `reduced`, and how the
        scene moves, as `Operator.motion`.

        Raises
        ------
        ObservationError
            As `build`.
        """
        return observation, np.zeros((0, 3), np.float32)

    @abstractmethod
    def build(self, data: FitData) -> Operator:
        """Return the operator for `data`; their T is 1 unless it `combines_time`.

        Raises
        ------
        ObservationError
            If the data lack what the operator needs.
        """

    @abstractmethod
    def make_example(self, seed: int) -> Observation:
        """Return a small observation that this operator explains: for tests and documentation."""


class Operator(ABC):
    """A linear map A from the scene x (C, H, W) to the noise-free data A x (T, C, Y, X).

    Attributes
    ----------
    scene_shape : (C, H, W)
        The scene, including what lies outside the image and contributes to the data.
    valid_region : pair of slices
        Rows and columns of the scene that the result shows.
    scale_factor : (float, float)
        Pixels of the scene per pixel of the data, along Y and X.
    dc_gain : float
        Value of the data for a uniform scene of 1.
    background : float or tensor (T, C, 1 or Y, 1 or X)
        What the data contain besides A x. [data units]
    foreground, foreground_variance : float or tensor (C, H, W)
        What the result shows besides x, and the variance of its error. [data units, and their square]
    data_weights : float or tensor (T, 1, 1, 1)
        How much the data count in the fit, from 0 to 1.
    resolution_fwhm : float
        Full width at half maximum of the smallest detail of the scene; 0 for no limit. [pixel]
    support : float or tensor (Y, X)
        1 where the scene contributes to the data, and 0 elsewhere, where the result is 0.
    scene_layout : ChannelLayout or None
        What the channels of the scene stand for; None: the same as those of the data.
    is_identity : bool
        Whether A x is x, so that data can be copied into the scene bit by bit.
    note : str
        What was measured or assumed while building it, for the summary.
    findings : tuple of Finding
        Why the result should be checked.
    """

    scene_shape: tuple[int, int, int]
    valid_region: tuple[slice, slice] = (slice(None), slice(None))
    scale_factor: tuple[float, float] = (1.0, 1.0)
    dc_gain: float = 1.0
    background: float | torch.Tensor = 0.0
    foreground: float | torch.Tensor = 0.0
    foreground_variance: float | torch.Tensor = 0.0
    data_weights: float | torch.Tensor = 1.0
    resolution_fwhm: float = 0.0
    support: float | torch.Tensor = 1.0
    is_identity: bool = False
    scene_layout: ChannelLayout | None = None
    note: str = ""
    findings: tuple[Finding, ...] = ()

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A x."""

    @property
    def motion(self) -> FloatArray:
        """Rotation of the scene in each exposure, and its shift along Y and X, (T, 3) in degrees and
        pixels; empty if it does not move.
        """
        return np.zeros((0, 3), np.float32)

    @abstractmethod
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Return A^H y, so that <A x, y> = <x, A^H y>."""

    def separate_sources(self, data: FitData, noise_std: NoiseStd) -> None:
        """Take what has a model of its own out of the scene, into `background` and `foreground`.

        Parameters
        ----------
        data : FitData
            All data.
        noise_std : callable
            From data (T, C, Y, X) to the standard deviation of their noise, which broadcasts to them.
        """
        return

    def adapt(self, x: torch.Tensor, y: torch.Tensor, observed: torch.Tensor) -> None:
        """Correct what is unknown of A itself, by the scene `x` (C, H, W) as a fit sees it now.

        Parameters
        ----------
        x : (C, H, W) tensor
            The scene.
        y, observed : (T, C, Y, X) tensors
            The data without the background, and which of them are observed.
        """
        return

    def reset(self) -> None:
        """Take back all corrections of `adapt`: a new fit makes its own."""
        return

    def coverage(self, observed: torch.Tensor) -> torch.Tensor:
        """Return how much `observed` data (T, C, Y, X) constrain each pixel of the scene, (C, H, W)."""
        return self.adjoint(observed.float())

    def initial_estimate(self, y: torch.Tensor, observed: torch.Tensor) -> torch.Tensor | None:
        """Return a rough estimate of the scene, (C, H, W), if the data are not an image themselves."""
        return None

    def to(self, device: torch.device) -> Self:
        """Return the operator with its tensors on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(moved, name, value.to(device))
        return moved
