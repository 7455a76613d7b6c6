"""Quality planes: the names of their bits or codes, and which of them mean that data are missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ReadError

# JWST and Roman flag nearly every pixel with something; only the first two bits make it unusable.
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
_MANGA_NAMES = ("no coverage", "low coverage", "dead fiber", "foreground star", *6 * ("",), "do not use")
# Words in the names of bits that mean that nothing was measured. Other names say what was found there
# (DETECTED, STARCORE), or how (CLIPPED, SUSPECT).
_NO_MEASUREMENT = re.compile(
    r"BAD|SAT|CR$|COSMIC|NO_?DATA|INTRP|NAN|DEAD|HOT|BLANK|DETECTOR|FLAT|DARK|VIGNETTED|^(CTE|LOW)$"
)


@dataclass(frozen=True, eq=False)
class DataQuality:
    """What a file says is wrong with each pixel.

    Attributes
    ----------
    values : integer array
        The flags, 0 where nothing is wrong.
    names : mapping of int to str
        Name of each bit, by its value (1, 2, 4, ...), or of each code.
    bad : frozenset of int
        Bits or codes of pixels that are treated as missing.
    codes : bool
        Whether a value is one code instead of a sum of bits (DECam).
    """

    values: NDArray[Any]
    names: Mapping[int, str] = field(default_factory=dict)
    bad: frozenset[int] = frozenset()
    codes: bool = False

    @classmethod
    def from_plane(cls, values: NDArray[Any], telescope: str, instrument: str = "") -> DataQuality:
        """Return the flags by the convention of a telescope; of unknown ones all are bad, without
        names.
        """
        values = _whole(values)
        telescope = telescope.upper().strip()
        kinds = {1 << bit for bit in range(64)}
        if telescope in ("JWST", "ROMAN"):
            return cls(values, _bits(_JWST_NAMES), frozenset((1, 2)))
        if telescope == "HST":
            return cls(values, _bits(_HST_NAMES), frozenset(kinds - {64}))  # warm: dark is subtracted
        if instrument.upper().strip() == "MANGA":
            return cls(values, _bits(_MANGA_NAMES), frozenset((1, 4, 1024)))
        if "DECAM" in instrument.upper():
            names = dict(enumerate(_DECAM_NAMES, start=1))
            return cls(values, names, frozenset(range(1, 1 << 16)), codes=True)
        return cls(values, {}, frozenset(kinds))

    @classmethod
    def from_named_bits(cls, values: NDArray[Any], names: Mapping[int, str]) -> DataQuality:
        """Return the flags by the names that a file gives to their bits.

        Bad are those whose name says that nothing was measured, and those without a name.
        """
        informational = {bit for bit, name in names.items() if not _NO_MEASUREMENT.search(name.upper())}
        kinds = {1 << bit for bit in range(64)}
        return cls(_whole(values), dict(names), frozenset(kinds - informational))

    def flag_counts(self) -> dict[int, tuple[str, int]]:
        """Return name and number of pixels of each bit or code that occurs, by its value."""
        present, counts = np.unique(self.values, return_counts=True)
        totals: dict[int, int] = {}
        for value, count in zip(present.tolist(), counts.tolist(), strict=True):
            for kind in self._flags_of(value):
                totals[kind] = totals.get(kind, 0) + count
        return {kind: (self.name(kind), count) for kind, count in sorted(totals.items())}

    def name(self, kind: int) -> str:
        """Return the name of a bit or code."""
        return self.names.get(kind, f"code {kind}" if self.codes else f"flag {kind}")

    def describe(self, value: int) -> str:
        """Return the names of all flags of a pixel with this `value`."""
        return ", ".join(dict.fromkeys(self.name(kind) for kind in self._flags_of(value))) or "good"

    def _flags_of(self, value: int) -> list[int]:
        if self.codes or value < 0:
            return [value] if value else []
        return [1 << bit for bit in range(value.bit_length()) if value >> bit & 1]

    def mask(self) -> BoolArray:
        """Return the pixels that have any of the bad flags."""
        if self.codes:
            return np.asarray(np.isin(self.values, list(self.bad)))
        from astropy.nddata.bitmask import bitfield_to_boolean_mask

        present = int(np.bitwise_or.reduce(self.values, axis=None)) if self.values.size else 0
        good = sum(flag for flag in self._flags_of(present) if flag not in self.bad)
        mask = bitfield_to_boolean_mask(self.values, ignore_flags=good, good_mask_value=False)
        return np.asarray(mask, bool)

    def is_bad(self, value: int) -> bool:
        """Whether a pixel with this `value` has any of the bad flags."""
        return not self.bad.isdisjoint(self._flags_of(value))

    def with_flag(self, flag: int) -> BoolArray:
        """Return the pixels that have this bit or code."""
        return np.asarray(self.values == flag if self.codes else self.values & flag != 0)

    def with_bad_flags(self, bad: Collection[int]) -> DataQuality:
        """Return the quality with other bad flags.

        Raises
        ------
        ReadError
            If one of them is not a bit.
        """
        for kind in bad:
            if kind < 1 or not (self.codes or kind & (kind - 1) == 0):
                raise ReadError(f"{kind} is not a quality flag: flags are 1, 2, 4, 8 ...")
        return replace(self, bad=frozenset(bad))


def _bits(names: Collection[str]) -> dict[int, str]:
    return {1 << bit: name for bit, name in enumerate(names) if name}


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    """Flags as whole numbers of which the sign is a bit like the others."""
    values = np.nan_to_num(values)
    if values.dtype.kind == "i" and values.dtype.itemsize < 8:
        values = values.view(values.dtype.str.replace("i", "u"))
    return values.astype(np.int64)
