"""The cards of a header as the file has them, character by character."""

from __future__ import annotations

import warnings
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from napari_dip.io.fits.scan import CARD_BYTES


class VerbatimCard(fits.Card):  # type: ignore[misc]
    """A card that FITS does not allow, and that stays as it is until another value is assigned.

    astropy corrects such cards as it writes them: ``= nan`` becomes the text ``'nan'``, and of a text
    whose quote is not closed a part becomes the comment.
    """

    _verbatim: str | None = None

    @classmethod
    def fromstring(cls, image: str) -> VerbatimCard:
        """Make the card of a line."""
        card: VerbatimCard = super().fromstring(image)
        card._verbatim = image[:CARD_BYTES].ljust(CARD_BYTES)
        return card

    @property
    def image(self) -> str:
        """The 80 characters of the card."""
        return self._verbatim or str(fits.Card.image.fget(self))

    @property
    def value(self) -> Any:
        """The value of the card."""
        return fits.Card.value.fget(self)

    @value.setter
    def value(self, value: Any) -> None:
        self._verbatim = None
        fits.Card.value.fset(self, value)


def parse_cards(text: str) -> fits.Header:
    """Return the header of a text with one card a line; what FITS does not allow stays as it is."""
    header = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for lines in _with_continuations(text.splitlines()):
            card = fits.Card.fromstring("".join(lines))
            if len(lines) == 1 and _is_changed_by_writing(lines[0]):
                card = VerbatimCard.fromstring(lines[0])
            header.append(card, end=True)
    return header


def header_text(hdu: Any) -> str:
    """Return the cards as they are in the file, one a line, with spaces for characters that FITS
    forbids.
    """
    lines = _stored_lines(hdu) or [str(card) for card in hdu.header.cards]
    images = ["".join(c if " " <= c <= "~" else " " for c in line) for line in lines]
    return "\n".join(
        image[i : i + CARD_BYTES] for image in images for i in range(0, len(image), CARD_BYTES)
    )


def _stored_lines(hdu: Any) -> list[str]:
    """The cards of an HDU in its file; none if it is in no file, or is stored as a table."""
    place = None if isinstance(hdu, fits.CompImageHDU) else hdu.fileinfo()
    if place is None or place["file"] is None:
        return []
    place["file"].seek(place["hdrLoc"])
    text = place["file"].read(place["datLoc"] - place["hdrLoc"]).decode("latin-1")
    lines = [text[start : start + CARD_BYTES] for start in range(0, len(text), CARD_BYTES)]
    end = next((number for number, line in enumerate(lines) if line.rstrip() == "END"), len(lines))
    return lines[:end]


def _with_continuations(lines: list[str]) -> list[list[str]]:
    """The lines of each card: its own, and those that continue its text."""
    groups: list[list[str]] = []
    for line in lines:
        if line.startswith("CONTINUE") and groups:
            groups[-1].append(line.ljust(CARD_BYTES))
        else:
            groups.append([line.ljust(CARD_BYTES)])
    return groups


def _is_changed_by_writing(line: str) -> bool:
    try:
        return str(fits.Card.fromstring(line)).rstrip() != line.rstrip()
    except (ValueError, VerifyError):
        return True
