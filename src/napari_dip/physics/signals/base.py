"""The interface of a signal equation: what a tissue, or a dye, gives in each of several images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

Seconds = Annotated[float, Field(ge=0, le=1e6)]
MIN_CONTRASTS = 3  # images, from which two parameters and the misfit can be told


class Parameter(NamedTuple):
    """What is mapped: its name and unit, and the range in which it is searched."""

    name: str
    unit: str
    low: float
    high: float


class Signal(Settings, ABC):
    """A signal equation with the numbers of its protocol.

    The signal is linear in an amplitude, and perhaps a background, and not in one parameter, such as a
    relaxation time.
    """

    kind: str
    linear: ClassVar[tuple[str, ...]] = ("amplitude",)
    """Names of what the signal is linear in, in data units."""

    @property
    @abstractmethod
    def parameter(self) -> Parameter:
        """What the signal is not linear in."""

    @property
    @abstractmethod
    def num_contrasts(self) -> int:
        """Number of images."""

    @abstractmethod
    def basis(self, value: torch.Tensor) -> torch.Tensor:
        """Return what one unit of each linear quantity gives in each image.

        Parameters
        ----------
        value : (...) tensor
            The parameter.

        Returns
        -------
        (num_contrasts, len(linear), ...) tensor
        """


def along_contrasts(numbers: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    """Return the numbers of a protocol as (num_contrasts, 1, ..., 1), to be used with `like` (...)."""
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, *like.ndim * (1,))
