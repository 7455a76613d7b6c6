"""Sentences that several parts of the window show."""

from __future__ import annotations

from napari_dip.core.result import Result

NO_IMAGE = "Open an image first: drop a file here, or use File > Open Sample."
IN_LOG = "the log has the traceback"
MEMORY_FULL = "the memory is full: crop the image first"


def done_message(result: Result) -> str:
    """Return what the dock says of a result: whether it can be used, and how it was made."""
    assessment, summary = result.summary.split("\n")
    return f"{_as_sentence(assessment)}\n{_as_sentence(summary)}"


def _as_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
