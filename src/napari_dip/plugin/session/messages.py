"""Sentences that several parts of the window show."""

from __future__ import annotations

PLUGIN = "napari-dip"  # as napari knows it
NO_IMAGE = "Open an image first: drop a file here, or use File > Open Sample."
IN_LOG = "the log has the traceback"
NOTHING_MISSING = "no pixel is missing: paint a mask, or choose another task"
MEMORY_FULL = "the memory is full: crop the image first"
