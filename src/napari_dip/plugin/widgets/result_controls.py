"""What can be done with a run's result: look, pick another iteration, go on, undo, save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_dip.core.errors import RestorationError
from napari_dip.plugin.contributions import write_layer
from napari_dip.plugin.layers.metadata import METADATA_KEY
from napari_dip.plugin.session.run import State
from napari_dip.plugin.session.session import Session

if TYPE_CHECKING:
    from napari.layers import Layer

FITS, OME, IMAGEJ = "FITS (*.fits *.fits.gz)", "OME-TIFF (*.ome.tif)", "TIFF (*.tif)"


class ResultControls(QWidget):  # type: ignore[misc]
    """Acts on the run that the session shows; hidden where there is none."""

    step_selected = Signal(int)
    """The step that is looked at; 0 for the one that the run chose."""
    message = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.original_button = QPushButton("Hold to see the original")
        self.slider, self.step = QSlider(Qt.Orientation.Horizontal), QLabel()
        self.continue_button, self.undo_button = QPushButton("Continue"), QPushButton("Undo")
        self.save_button = QPushButton("Save ...")
        self.slider.setTracking(False)  # one result for each stop, not for each pixel on the way
        self.slider.setPageStep(1)
        self.slider.setToolTip(
            "Another iteration for the result: left is smoother, right has more detail and more noise.\n"
            "At the right end: the run's own choice, with its second look at the data."
        )
        self.undo_button.setToolTip("Take out the layers that the last run added, and nothing else.")
        self.save_button.setToolTip("Write the restored image, in the format that it came from.")
        self._iterations = QWidget()
        row = QHBoxLayout(self._iterations)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Iteration"))
        row.addWidget(self.slider, 1)
        row.addWidget(self.step)
        buttons = QHBoxLayout()
        for button in (self.continue_button, self.undo_button, self.save_button):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.original_button)
        column.addWidget(self._iterations)
        column.addLayout(buttons)
        self.original_button.pressed.connect(lambda: session.show_original(on=True))
        self.original_button.released.connect(lambda: session.show_original(on=False))
        self.slider.sliderMoved.connect(self._preview)
        self.slider.valueChanged.connect(self._select)
        self.continue_button.clicked.connect(session.continue_run)
        self.undo_button.clicked.connect(session.undo)
        self.save_button.clicked.connect(self.save)
        self.refresh()

    def refresh(self) -> None:
        """Show what is possible now."""
        run, idle = self._session.current_run, self._session.state == State.IDLE
        done = idle and run is not None and run.result is not None
        self.setVisible(run is not None and run.layers.image_layer is not None)
        steps = run.steps if run is not None and done else []
        self._iterations.setVisible(bool(steps))
        if steps != self._steps_of_slider():
            blocked = self.slider.blockSignals(True)
            self.slider.setProperty("steps", steps)
            self.slider.setRange(0, len(steps))
            self.slider.setValue(len(steps))
            self.slider.blockSignals(blocked)
            self._show_step(len(steps))
        why_not = self._session.continue_blocked_by()
        self.continue_button.setEnabled(idle and not why_not)
        self.continue_button.setToolTip(
            why_not or "Go on from where the run stopped, for as long again."
        )
        for button in (self.continue_button, self.undo_button, self.save_button):
            button.setVisible(bool(done))

    def save(self) -> None:
        """Ask for a file, and write the restored image to it."""
        run = self._session.current_run
        layer = run.layers.image_layer if run else None
        if layer is None:
            return
        name, _ = QFileDialog.getSaveFileName(self, "Save the restored image", *_suggested_file(layer))
        if not name:
            return
        try:
            data, attributes, _ = layer.as_layer_data_tuple()
            write_layer(name, data, attributes)
        except (RestorationError, OSError) as error:
            self.message.emit(f"The image was not saved: {error}", True)
        else:
            self.message.emit(f"Saved: {Path(name).name}", False)

    def _steps_of_slider(self) -> list[int]:
        return list(self.slider.property("steps") or [])

    def _step_at(self, place: int) -> int | None:
        steps = self._steps_of_slider()
        return steps[place] if place < len(steps) else None

    def _show_step(self, place: int) -> None:
        step = self._step_at(place)
        self.step.setText("as chosen" if step is None else f"step {step}")
        self.step_selected.emit(step or 0)

    def _preview(self, place: int) -> None:
        self._show_step(place)
        self._session.preview_step(self._step_at(place))

    def _select(self, place: int) -> None:
        self._show_step(place)
        self._session.select_step(self._step_at(place))


def _suggested_file(layer: Layer) -> tuple[str, str]:
    """A file beside the source, of its format; and the formats, its own first."""
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    path = Path(getattr(header, "path", "") or layer.name.partition(" - ")[0])
    stem = path.name.partition(".")[0] or "image"
    suffixes = "".join(path.suffixes).lower()
    is_fits = any(mark in suffixes for mark in (".fit", ".fts", ".fz", ".asdf"))
    suffix = ".fits" if is_fits else ".ome.tif"
    formats = [FITS, OME, IMAGEJ] if is_fits else [OME, IMAGEJ, FITS]
    return str(path.with_name(f"{stem} restored{suffix}")), ";;".join(formats)
