"""What every forward operator is: settings that build a linear map with its adjoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from napari_dip.observation import Observation
from napari_dip.settings import Settings

if TYPE_CHECKING:
    import torch


class OperatorSettings(Settings, ABC):
    """Settings of one kind of forward operator."""

    kind: str
    extras: ClassVar[tuple[str, ...]] = ()
    """Names of the companions that `build` takes from the observation."""

    @abstractmethod
    def build(self, frame: Observation) -> Operator:
        """The operator for one frame, an observation of shape (1, C, 1, Y, X).

        Raises
        ------
        ObservationError
            If the frame lacks what the operator needs.
        """

    @abstractmethod
    def example(self, seed: int) -> Observation:
        """A small observation that this operator explains; for tests, docs and sample data."""


class Operator(ABC):
    """A linear map A from the scene x (C, H, W) to the noise-free data A x (C, Y, X)."""

    scene_shape: tuple[int, int, int]

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """A^H y, so that <A x, y> = <x, A^H y>."""

    @abstractmethod
    def to(self, device: torch.device) -> Operator:
        """The same map with its tensors on `device`."""
