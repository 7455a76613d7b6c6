"""The command line."""

from napari_dip.cli import commands, doctor, info
from napari_dip.cli.app import app, main

__all__ = ["app", "commands", "doctor", "info", "main"]
