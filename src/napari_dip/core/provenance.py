"""How a result was made: everything that a written file remembers of its run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any, Self

import numpy as np

from napari_dip.core.assessment import Assessment
from napari_dip.core.noise_properties import sigma_text


@dataclass(frozen=True)
class InputRecord:
    """The input: its file, the SHA-256 digest of its data and mask, and the letters of its axes."""

    path: str
    sha256: str
    axes: str = ""


MIN_RESIDUAL = 0.005  # over the noise: below it is rounding


@dataclass(frozen=True)
class NoiseRecord:
    """The noise of each fit: the median sigma of each plane, its source, and the r.m.s. residual over
    it.
    """

    sigma: tuple[tuple[float | None, ...], ...]
    source: str
    residual: tuple[float, ...]

    @property
    def sigma_text(self) -> str:
        """The standard deviations of all planes as one number, or as a range."""
        return sigma_text([value for planes in self.sigma for value in planes if value is not None])

    @property
    def median_residual(self) -> float:
        """The median residual over the noise: 1 for a good fit, at most MIN_RESIDUAL where observed
        pixels are kept, NaN where it is unknown.
        """
        return float(np.median(self.residual))


@dataclass(frozen=True)
class OperatorRecord:
    """The forward operator: its notes, its scale factors, and how well the result predicts the data.

    The noise gain of each fit is the noise of the scene over that of the data; None for the identity.
    Motion is what `Result.motion` has, of each block.
    """

    note: str
    scale_factor: tuple[float, float]
    data_psnr_db: tuple[float, ...]
    noise_gain: tuple[float | None, ...] = ()
    motion: tuple[tuple[tuple[float, ...], ...], ...] = ()


@dataclass(frozen=True)
class EnsembleRecord:
    """The ensemble: its size, the calibration factor of each block, and sources that few fits show.

    Sources are (T, Z, row, column), counted from 0.
    """

    size: int
    calibration: tuple[float | None, ...]
    unreproduced_sources: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Provenance:
    """How a result was made.

    Attributes
    ----------
    recipe : mapping
        Every setting, as `Recipe.model_dump(mode="json")` has them.
    assessment : Assessment
        Whether the result can be used.
    input, noise, operator, ensemble
        Records of these.
    flux_change : float or None
        Relative difference between the sum of the predicted data and that of the data; None about a
        level of 0.
    self_supervision, refinement : str
        The methods that were used.
    source_flux_corrected : bool
        Whether flux that the fit had missed was added back to small sources.
    selected_step : tuple of int
        The step whose image was taken, for each fit; 0 where a block was not reached.
    steps : int
        Steps taken by all fits.
    stop_reason : str
        Why the last fit stopped, as a sentence.
    date : str
        End of the run, ISO 8601, UTC.
    seconds : float
        Duration of the run. [s]
    device, precision, num_threads
        Where and how the network was computed.
    notes : str
        What else the reader of the result should know.
    versions : mapping of str to str
        Versions of the software.
    """

    recipe: Mapping[str, Any]
    assessment: Assessment
    input: InputRecord
    noise: NoiseRecord
    operator: OperatorRecord
    ensemble: EnsembleRecord
    flux_change: float | None
    self_supervision: str
    refinement: str
    source_flux_corrected: bool
    selected_step: tuple[int, ...]
    steps: int
    stop_reason: str
    date: str
    seconds: float
    device: str
    precision: str
    num_threads: int
    notes: str
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values that JSON has."""
        values: dict[str, Any] = _with_lists(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that `to_dict` made, perhaps by way of JSON; other keys are ignored."""
        names = {field.name for field in fields(cls)}
        records = {
            "assessment": Assessment.from_dict(values.get("assessment")),
            "input": InputRecord(**values["input"]),
            "noise": NoiseRecord(**_with_tuples(values["noise"])),
            "operator": OperatorRecord(**_with_tuples(values["operator"])),
            "ensemble": EnsembleRecord(**_with_tuples(values["ensemble"])),
            "selected_step": tuple(values["selected_step"]),
        }
        own = {name: value for name, value in values.items() if name in names}
        return cls(**{**own, **records})


def software_versions() -> dict[str, str]:
    """Return the versions of the software that makes a result."""
    packages = {name: version(name) for name in ("napari-dip", "torch", "numpy")}
    return packages | {"python": platform.python_version()}


def _with_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list | tuple) else value
