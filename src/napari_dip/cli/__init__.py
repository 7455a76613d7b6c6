"""The command line."""

from napari_dip.cli import commands, info
from napari_dip.cli.app import main

__all__ = ["commands", "info", "main"]
