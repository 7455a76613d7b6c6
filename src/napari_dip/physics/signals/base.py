"""The interface of a signal equation: what a tissue, or a dye, gives in each of several images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

Seconds = Annotated[float, Field(ge=0, le=1e6)]
MIN_CONTRASTS = 3  # images: one for each of two parameters, and one for the misfit


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
    def contrasts(self) -> tuple[float, ...]:
        """The number of the protocol that differs from image to image, such as the echo time.

        Raises
        ------
        SettingsError
            If the numbers are not given, or too few.
        """

    @property
    def num_contrasts(self) -> int:
        """Number of images."""
        return len(self.contrasts)

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

    def signal(self, value: torch.Tensor, linear: torch.Tensor) -> torch.Tensor:
        """Return the images (num_contrasts, ...) of the parameter (...) and the linear quantities
        (len(linear), ...).
        """
        return (self.basis(value) * linear).sum(dim=1)

    def along_contrasts(self, like: torch.Tensor) -> torch.Tensor:
        """Return the `contrasts` as (num_contrasts, 1, ..., 1), to be used with `like` (...)."""
        numbers = torch.tensor(self.contrasts, dtype=like.dtype, device=like.device)
        return numbers.reshape(-1, *like.ndim * (1,))


def required(numbers: tuple[float, ...] | None, name: str) -> tuple[float, ...]:
    """Return the numbers of a protocol, one for each image.

    Raises
    ------
    SettingsError
        If they are not given, or too few.
    """
    if numbers is None or len(numbers) < MIN_CONTRASTS:
        have = 0 if numbers is None else len(numbers)
        raise SettingsError(
            f"signal.{name} needs one number for each image, at least {MIN_CONTRASTS}, and has {have}",
            setting=f"signal.{name}",
        )
    return numbers
