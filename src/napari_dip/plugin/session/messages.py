"""Sentences that several parts of the window show."""

from __future__ import annotations

NO_IMAGE = "Open an image first: drop a file here, or use File > Open Sample."
MEMORY_FULL = "the memory is full: crop the image first"
