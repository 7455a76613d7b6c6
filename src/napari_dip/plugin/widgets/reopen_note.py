"""A note below an image that napari itself has opened, without what its file says about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_dip.io import ANNOTATED_SUFFIXES
from napari_dip.plugin.layers.metadata import METADATA_KEY
from napari_dip.plugin.session.messages import PLUGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer


class ReopenNote(QWidget):  # type: ignore[misc]
    """Opens the file of an image again, with its flags, errors and units.

    Parameters
    ----------
    viewer : napari viewer
        Where the file is opened.
    """

    reopened = Signal(object)
    """The new layer of the image."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Image | None = None
        self.button = QPushButton("Reopen with napari-dip")
        text = "Opened by napari itself, without flags, errors and units that the file may have."
        note = QLabel(text, wordWrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(note)
        column.addWidget(self.button)
        self.button.clicked.connect(self.reopen)

    def applies_to(self, layer: Image | None) -> bool:
        """Take `layer` for the image, and return whether its file can be opened again."""
        self._layer = layer
        return layer is not None and METADATA_KEY not in layer.metadata and reads_file_of(layer)

    def reopen(self) -> None:
        """Open the file again, and hide the layer of before."""
        old = self._layer
        if old is None:
            return
        added = self._viewer.open(old.source.path, plugin=PLUGIN)
        old.visible = False
        self.reopened.emit(added[0])


def reads_file_of(layer: Layer) -> bool:
    """Whether `layer` is from a file with a suffix that napari-dip reads, besides pictures."""
    path = str(layer.source.path or "")
    return path.lower().endswith(ANNOTATED_SUFFIXES) and Path(path).exists()
