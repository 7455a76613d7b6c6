"""A note about a run that was interrupted, which can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_dip.plugin.session.interrupted import InterruptedRun, find_interrupted
from napari_dip.plugin.widgets.empty_state import open_image

if TYPE_CHECKING:
    import napari


class InterruptedNote(QWidget):  # type: ignore[misc]
    """Offers to resume the last run that ended with napari.

    Parameters
    ----------
    viewer : napari viewer
        Where its image is, or is opened.
    """

    resumed = Signal(object, object)
    """The `InterruptedRun` that is to be resumed, and the layer of its image."""
    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._run: InterruptedRun | None = None
        self._label = QLabel(wordWrap=True)
        self.resume_button, self.discard_button = QPushButton("Resume"), QPushButton("Discard")
        row = QHBoxLayout()
        row.addWidget(self.resume_button)
        row.addWidget(self.discard_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._label)
        column.addLayout(row)
        self.resume_button.clicked.connect(self._resume)
        self.discard_button.clicked.connect(self._discard)
        self.refresh()

    def refresh(self) -> None:
        """Look for a run, and show it."""
        self._run = find_interrupted()
        self._label.setText(f"Interrupted: {self._run.title}" if self._run else "")
        self.setVisible(self._run is not None)

    def _resume(self) -> None:
        run = self._run
        if run is None:
            return
        layer = next(filter(run.is_of, self._viewer.layers), None)
        if layer is None and run.path:
            try:
                layer = next(filter(run.is_of, open_image(self._viewer, run.path)), None)
            except Exception as error:  # of any reader
                self.message.emit(str(error), True)
                return
        if layer is None:
            self.message.emit(f"Open the image {run.layer} first: it was not read from a file.", True)
        else:
            self.resumed.emit(run, layer)

    def _discard(self) -> None:
        if self._run is not None:
            self._run.discard()
        self.refresh()
