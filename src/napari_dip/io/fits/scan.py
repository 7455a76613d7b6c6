"""A scan of the headers of a FITS file, before astropy reads it: sizes must match the file."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from napari_dip.core.arrays import densest_bytes, unpacked_limit_bytes
from napari_dip.core.errors import ReadError

FITS_BLOCK_BYTES = 2880
CARD_BYTES = 80
MAX_HEADER_BYTES = 2 * 2**20
MAX_HDUS = 1000
MAX_AXES = 64
_OPENERS: dict[bytes, Callable[[Path], gzip.GzipFile | bz2.BZ2File]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


def validate_fits(path: Path) -> Path | io.BytesIO:
    """Return `path`, or its bytes if it is compressed, if all its HDUs are complete.

    Raises
    ------
    ReadError
        If it is no FITS file, a header makes no sense, data are cut off, or it inflates to more than
        the memory has room for.
    """
    with path.open("rb") as file:
        magic = file.read(9)
    for start, opener in _OPENERS.items():
        if magic.startswith(start):
            return _inflated(path, opener)
    if magic != b"SIMPLE  =":
        raise ReadError(f"{path} is no FITS file: it does not begin with SIMPLE")
    with path.open("rb") as file:
        _Scan(path, file, path.stat().st_size).walk()
    return path


def _inflated(path: Path, opener: Callable[[Path], gzip.GzipFile | bz2.BZ2File]) -> io.BytesIO:
    room = unpacked_limit_bytes(path.stat().st_size)
    held = io.BytesIO()
    try:
        with opener(path) as packed:
            if packed.peek(9)[:9] != b"SIMPLE  =":
                raise ReadError(f"{path} is no FITS file: what is compressed does not begin with SIMPLE")
            scan = _Scan(path, packed, room, held)
            scan.walk()
    except ReadError:
        raise
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ReadError(
            f"{path}: the compressed data are broken or end early; download it again"
        ) from error
    held.seek(0)
    return held


class _Scan:
    """One pass over the headers of a file; what is read of a compressed one is kept."""

    def __init__(self, path: Path, file: _Readable, most: int, held: io.BytesIO | None = None) -> None:
        self._path, self._file, self._most, self._held = path, file, most, held
        self._at = 0

    def walk(self) -> None:
        """Go from HDU to HDU, until something else or nothing follows."""
        for number in range(MAX_HDUS + 1):
            header = self._header(number)
            if header is None:
                return
            if number == MAX_HDUS:
                raise ReadError(f"{self._path} has more than {MAX_HDUS:,} HDUs; it is no image")
            self._pass_data(number, header)

    def _header(self, number: int) -> dict[str, str] | None:
        """The cards that determine the size of the data; None if there is no further header."""
        cards: dict[str, str] = {}
        begun = self._at
        while True:
            block = self._read(FITS_BLOCK_BYTES)
            if self._at - begun <= FITS_BLOCK_BYTES and number and not block.startswith(b"XTENSION="):
                return None
            for start in range(0, len(block), CARD_BYTES):
                card = block[start : start + CARD_BYTES]
                if card[:8].rstrip() == b"END" and not card[8:].strip():
                    return cards
                if card[8:10] == b"= ":
                    value = card[10:].decode("latin-1").partition("/")[0].strip()
                    cards.setdefault(card[:8].decode("latin-1").rstrip(), value)
            if len(block) < FITS_BLOCK_BYTES:
                raise ReadError(
                    f"{self._path}: the header of HDU {number} has no END: the file is cut off after"
                    f" {self._at:,} bytes, or broken; download it again"
                )
            if self._at - begun > MAX_HEADER_BYTES:
                raise ReadError(
                    f"{self._path}: the header of HDU {number} goes on for more than"
                    f" {MAX_HEADER_BYTES // 2**20} MB: the file is broken"
                )

    def _pass_data(self, number: int, cards: dict[str, str]) -> None:
        need = self._size(number, cards)
        if cards.get("ZIMAGE") == "T":
            self._check_tiles(number, cards, need)
        padded = -(-need // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES
        if self._held is not None:
            if self._at + need > self._most:
                raise ReadError(
                    f"{self._path}: HDU {number} inflates to {need / 1e9:.3g} GB and"
                    f" {self._most / 1e9:.3g} GB may be taken: unpack it first, if it is no trap"
                )
            have = len(self._read(padded))
        else:
            # The last block may lack its padding: no pixel is missing then.
            have = max(min(need, self._most - self._at), 0)
            if have == need:
                self._at += padded
                self._file.seek(self._at)
        if have < need:
            name = cards.get("EXTNAME", "").strip("' ")
            raise ReadError(
                f"{self._path}: the data of HDU {number} '{name or ('' if number else 'PRIMARY')}' are"
                f" cut off: {have:,} of {need:,} bytes are there; download the file again"
            )

    def _size(self, number: int, cards: dict[str, str]) -> int:
        """The size of the data that a header declares. [byte]"""
        whole = partial(self._whole, number, cards)
        bits, axes = whole("BITPIX"), whole("NAXIS")
        if bits not in (8, 16, 32, 64, -32, -64):
            raise self._broken(number, f"BITPIX is {bits}, and FITS knows 8, 16, 32, 64, -32 and -64")
        if not 0 <= axes <= MAX_AXES:
            raise self._broken(number, f"NAXIS is {axes}, and 0 to {MAX_AXES} can be")
        sides = [whole(f"NAXIS{axis}") for axis in range(1, axes + 1)]
        for axis, side in enumerate(sides, start=1):
            if side < 0:
                raise self._broken(number, f"NAXIS{axis} is {side}, and no side is negative")
        extra, groups = whole("PCOUNT", 0), whole("GCOUNT", 1)
        if extra < 0 or groups < 0:
            raise self._broken(number, f"PCOUNT {extra} or GCOUNT {groups} is negative")
        if sides and sides[0] == 0 and cards.get("GROUPS") == "T":
            sides = sides[1:]
        elif not number:  # only random groups have these cards in the first header
            extra, groups = 0, 1
        return abs(bits) // 8 * groups * (extra + (math.prod(sides) if axes else 0))

    def _check_tiles(self, number: int, cards: dict[str, str], stored: int) -> None:
        """Refuse a tile-compressed image whose tiles are not those that it promises.

        References
        ----------
        .. [1] FITS standard 4.0, section 10.1: each row of the table is a tile.
        """
        axes = self._whole(number, cards, "ZNAXIS")
        if not 0 <= axes <= MAX_AXES:
            raise self._broken(number, f"ZNAXIS is {axes}, and 0 to {MAX_AXES} can be")
        sides = [self._whole(number, cards, f"ZNAXIS{axis}") for axis in range(1, axes + 1)]
        tiles = [
            self._whole(number, cards, f"ZTILE{axis}", side if axis == 1 else 1)
            for axis, side in enumerate(sides, start=1)
        ]
        if any(side < 0 for side in sides) or any(tile < 1 for tile in tiles):
            raise self._broken(number, "a side in ZNAXISn or ZTILEn is not positive")
        need = math.prod(-(-side // tile) for side, tile in zip(sides, tiles, strict=True))
        have = self._whole(number, cards, "NAXIS2")
        if axes and need != have:
            raise self._broken(number, f"its image has {need:,} tiles, and {have:,} are there")
        size = math.prod(sides) * abs(self._whole(number, cards, "ZBITPIX")) // 8
        if size > densest_bytes(stored):
            raise ReadError(
                f"{self._path}: HDU {number} would unpack to {size / 1e9:.3g} GB from {stored:,} bytes:"
                " it is broken, or a trap"
            )

    def _whole(
        self, number: int, cards: dict[str, str], keyword: str, default: int | None = None
    ) -> int:
        """The value of a card that is a whole number."""
        text = cards.get(keyword)
        if text is None and default is not None:
            return default
        try:
            return int(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            problem = "is missing" if text is None else f"is {text[:30]!r}, which is no whole number"
            raise self._broken(number, f"{keyword} {problem}") from None

    def _broken(self, number: int, what: str) -> ReadError:
        return ReadError(f"{self._path}: the header of HDU {number} is broken: {what}")

    def _read(self, number: int) -> bytes:
        """The next bytes; fewer at the end of the file."""
        parts = []
        while number > 0 and (part := self._file.read(min(number, 2**24))):
            parts.append(part)
            number -= len(part)
        found = b"".join(parts)
        self._at += len(found)
        if self._held is not None:
            if self._at > self._most:
                raise ReadError(f"{self._path} inflates to more than the memory has room for")
            self._held.write(found)
        return found
