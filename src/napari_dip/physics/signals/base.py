"""The interface of a signal equation: what a tissue, or a dye, gives in each of several images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field

from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

Seconds = Annotated[float, Field(ge=0, le=1e6)]
EchoSeconds = Annotated[float, Field(ge=0, le=10)]  # milliseconds are refused
InversionSeconds = Annotated[float, Field(ge=0, le=60)]
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
    names_in_files: ClassVar[Mapping[str, str]] = {}
    """The settings that a file may specify, and their names there, as in BIDS."""

    example: ClassVar[Mapping[str, Any]] = {}
    """A protocol: for tests and documentation."""

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

    def with_protocol(self, header: Header, number: int) -> Self:
        """Return the equation with the numbers that the file has for its `number` of images, where none
        are given.

        Raises
        ------
        SettingsError
            If a number is specified nowhere.
        ObservationError
            If there are not as many images as the protocol says.

        References
        ----------
        .. [1] Brain Imaging Data Structure, https://bids-specification.readthedocs.io.
        """
        found: dict[str, Any] = {}
        for name, in_file in self.names_in_files.items():
            if getattr(self, name) is None and (numbers := header.protocol.get(in_file)):
                found[name] = numbers if len(set(numbers)) > 1 else numbers[0]
        complete = self.parse(self.model_dump() | found, source=header.path or "the header")
        if number != complete.num_contrasts:
            raise ObservationError(
                f"there are {number} images along T, and the protocol is of {complete.num_contrasts}:"
                " name the axis of the images T, or correct the protocol"
            )
        return complete

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

    def make_example(self, seed: int) -> Observation:
        """Return noisy images that the equation explains, with the protocol of `example` in their
        header.
        """
        complete = self.parse({"kind": self.kind, **self.example}, source="the example")
        _, _, low, high = complete.parameter
        y, x = np.mgrid[:40, :48]
        value = np.sqrt(low * high) * (0.7 + 0.7 * x / 48)
        amplitude = 100.0 + 50 * (np.hypot(y - 20, x - 24) < 12)
        linear = np.stack([amplitude, *(0 * amplitude for _ in self.linear[1:])])
        images = complete.signal(torch.from_numpy(value), torch.from_numpy(linear)).numpy()
        noisy = images + np.random.default_rng(seed).normal(0, 3, images.shape)
        given = {in_file: self.example[name] for name, in_file in self.names_in_files.items()}
        protocol = {
            name: tuple(map(float, value if isinstance(value, tuple) else (value,)))
            for name, value in given.items()
        }
        header = Header(protocol=protocol)
        return Observation.from_array(noisy.astype(np.float32), axes="TYX", header=header)

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
            f"signal.{name} needs one number for each image, at least {MIN_CONTRASTS}, and has {have}:"
            " neither the settings nor the file specify them",
            setting=f"signal.{name}",
        )
    return numbers
