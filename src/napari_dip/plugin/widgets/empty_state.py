"""What a dock offers while no image is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_dip.io import ANNOTATED_SUFFIXES
from napari_dip.plugin.session.messages import PLUGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

SAMPLES = {
    "dynamic-mri": "cine",
    "mri-motion": "moving_head",
    "inpaint": "cell",
}  # of other docks the star field


class EmptyState(QWidget):  # type: ignore[misc]
    """Opens a file, or the sample that suits the task.

    Parameters
    ----------
    viewer : napari viewer
        Where the image is opened.
    preset : str
        Name of the task.
    """

    def __init__(self, viewer: napari.viewer.Viewer, preset: str) -> None:
        super().__init__()
        self._viewer, self._sample = viewer, SAMPLES.get(preset, "star_field")
        self.open_button, self.sample_button = QPushButton("Open ..."), QPushButton("Try the sample")
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.sample_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(QLabel("<b>No image is open.</b>"))
        column.addLayout(row)
        self.open_button.clicked.connect(self._open)
        self.sample_button.clicked.connect(lambda: viewer.open_sample(PLUGIN, self._sample))

    def _open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open an image")
        if name:
            open_image(self._viewer, name)


def open_image(viewer: napari.viewer.Viewer, path: str) -> list[Layer]:
    """Open a file with what it says about its image, where napari-dip can read it; return its layers."""
    ours = path.lower().endswith(ANNOTATED_SUFFIXES)
    layers: list[Layer] = viewer.open(path, plugin=PLUGIN if ours else "napari")
    return layers
