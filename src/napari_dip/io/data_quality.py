"""Quality planes: what their bits or codes are called, and which of them leave nothing to measure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ReadError

# JWST and Roman flag nearly every pixel with something; the first two bits alone make one unusable.
_JWST_NAMES = (
    "do not use", "saturated", "jump", "dropout", "outlier", "persistence", "A/D floor", "charge loss",
    "unreliable error", "no science", "dead", "hot", "warm", "low efficiency", "RC", "telegraph noise",
    "nonlinear", "bad reference pixel", "no flat field", "no gain", "no linearity correction",
    "no saturation check", "unreliable bias", "unreliable dark", "unreliable slope", "unreliable flat",
    "open", "beside an open one", "flux estimated", "shutter failed open", "other", "reference pixel",
)  # fmt: skip
_HST_NAMES = (
    "lost", "filled", "bad detector", "masked", "hot", "unstable", "warm", "bad bias", "full well",
    "bad reference", "charge trap", "A/D saturated", "cosmic ray", "cosmic ray", "artefact",
)  # fmt: skip
_DECAM_NAMES = (
    "bad", "no value", "saturated", "bleed trail", "cosmic ray", "low weight", "differs", "streak",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DataQuality:
    """What a file calls wrong with each pixel.

    Attributes
    ----------
    values : integer array
        The flags as the file has them, 0 where nothing is wrong.
    names : mapping of int to str
        What each bit's value (1, 2, 4, ...), or each code, is called.
    bad : frozenset of int
        The bits or codes that leave nothing to measure: those pixels are holes.
    codes : bool
        Whether a value is one code, and no sum of bits (DECam's).
    """

    values: NDArray[Any]
    names: Mapping[int, str] = field(default_factory=dict)
    bad: frozenset[int] = frozenset()
    codes: bool = False

    @classmethod
    def from_plane(cls, values: NDArray[Any], telescope: str, instrument: str = "") -> DataQuality:
        """The flags of a telescope's convention; of any other all are bad, and have numbers only."""
        values = np.nan_to_num(values)
        if values.dtype.kind == "i" and values.dtype.itemsize < 8:  # the last bit is one like the others
            values = values.view(values.dtype.str.replace("i", "u"))
        values = values.astype(np.int64)
        telescope = telescope.upper().strip()
        kinds = {1 << bit for bit in range(64)}
        if telescope in ("JWST", "ROMAN"):
            return cls(values, _bits(_JWST_NAMES), frozenset((1, 2)))
        if telescope == "HST":
            return cls(values, _bits(_HST_NAMES), frozenset(kinds))
        if "DECAM" in instrument.upper():
            names = dict(enumerate(_DECAM_NAMES, start=1))
            return cls(values, names, frozenset(range(1, 1 << 16)), codes=True)
        return cls(values, {}, frozenset(kinds))

    def flag_counts(self) -> dict[int, tuple[str, int]]:
        """Name and number of pixels of every bit or code that occurs, by its value."""
        present, counts = np.unique(self.values, return_counts=True)
        found: dict[int, int] = {}
        for value, count in zip(present.tolist(), counts.tolist(), strict=True):
            for kind in self._flags_of(value):
                found[kind] = found.get(kind, 0) + count
        return {kind: (self.name(kind), count) for kind, count in sorted(found.items())}

    def name(self, kind: int) -> str:
        """What a bit or code is called."""
        return self.names.get(kind, f"code {kind}" if self.codes else f"flag {kind}")

    def describe(self, value: int) -> str:
        """All that a pixel's value says."""
        return ", ".join(dict.fromkeys(self.name(kind) for kind in self._flags_of(value))) or "good"

    def _flags_of(self, value: int) -> list[int]:
        if self.codes or value < 0:
            return [value] if value else []
        return [1 << bit for bit in range(value.bit_length()) if value >> bit & 1]

    def mask(self) -> BoolArray:
        """Pixels that have any of the bad flags."""
        bad = [value for value in np.unique(self.values) if self.is_bad(int(value))]
        return np.asarray(np.isin(self.values, bad))

    def is_bad(self, value: int) -> bool:
        """Whether a pixel of this value has any of the bad flags."""
        return not self.bad.isdisjoint(self._flags_of(value))

    def with_flag(self, flag: int) -> BoolArray:
        """Pixels that have this bit or code."""
        return np.asarray(self.values == flag if self.codes else self.values & flag != 0)

    def with_bad_flags(self, bad: Collection[int]) -> DataQuality:
        """The same with other bad flags.

        Raises
        ------
        ReadError
            If one of them is no bit.
        """
        for kind in bad:
            if kind < 1 or not (self.codes or kind & (kind - 1) == 0):
                raise ReadError(f"{kind} is no quality flag: flags are 1, 2, 4, 8 ...")
        return replace(self, bad=frozenset(bad))


def _bits(names: Collection[str]) -> dict[int, str]:
    return {1 << bit: name for bit, name in enumerate(names)}
