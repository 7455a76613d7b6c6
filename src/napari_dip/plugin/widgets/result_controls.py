"""Controls for the result of a run: original, step, continue, undo and save."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_dip.core.errors import RestorationError
from napari_dip.core.result import Result
from napari_dip.plugin.contributions import write_layer
from napari_dip.plugin.layers.metadata import METADATA_KEY
from napari_dip.plugin.session.run import State
from napari_dip.plugin.session.session import Session

if TYPE_CHECKING:
    from napari.layers import Layer

EXTRAS = {
    "residual": "Data minus restored image, over the noise: it should look like noise.",
    "uncertainty": "Standard deviation of the restored image. [data units]",
    "steps": "The images along the fit, as a stack.",
    "filled": "The pixels that were missing.",
    "phase": "The phase of the image. [rad]",
    "maps": "The amplitude, the bounds of the errors, and chi-square: about 1 where the equation holds.",
}
FITS, OME, IMAGEJ = "FITS (*.fits *.fits.gz)", "OME-TIFF (*.ome.tif)", "TIFF (*.tif)"


class ResultControls(QWidget):  # type: ignore[misc]
    """Acts on the current run of a session; hidden if there is none."""

    step_selected = Signal(int)
    """The step that is shown; 0 for the automatic choice."""
    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._result: Result | None = None
        self._steps: list[int] = []
        self.original_button, self.split_button = (
            QPushButton("Show original (hold)"),
            QPushButton("Split view"),
        )
        self.split_button.setCheckable(True)
        self.split_button.setToolTip(
            "Show the original left of a divider, which you can drag with the mouse."
        )
        self.slider, self.step_label = _slider(), QLabel()
        self.strength_slider, self.strength_label = _slider(), QLabel()
        self.continue_button, self.undo_button = QPushButton("Continue"), QPushButton("Undo")
        self.save_button, self.keep_box = QPushButton("Save ..."), QCheckBox("Keep when run again")
        self.extra_boxes = {name: QCheckBox(name.capitalize()) for name in EXTRAS}
        self.slider.setPageStep(1)
        self.slider.setToolTip(
            "Selects another step for the result: smoother to the left, more detail and noise to the"
            " right.\nAt the right end: the automatic choice, with its refinement."
        )
        self.strength_slider.setRange(0, 100)
        self.strength_slider.setToolTip(
            "How much of the restoration is applied: all of it at the right end, none at the left end."
            "\nThe uncertainty and the saved file follow."
        )
        self.undo_button.setToolTip("Remove the layers that the last run added, and nothing else.")
        self.save_button.setToolTip("Write the restored image, by default in the format of the input.")
        self.keep_box.setToolTip("Otherwise the next result of this image replaces this one.")
        self._boxes = QGridLayout()
        for name, box in self.extra_boxes.items():
            box.setToolTip(EXTRAS[name])
            self._boxes.addWidget(box)
            box.toggled.connect(partial(self._on_extra, name))
        self._step_row = _row(QLabel("Image at"), self.slider, self.step_label)
        self._strength_row = _row(QLabel("Strength"), self.strength_slider, self.strength_label)
        buttons = QHBoxLayout()
        for button in (self.continue_button, self.undo_button, self.save_button):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(buttons)
        column.addWidget(_row(self.split_button, self.original_button))
        column.addWidget(self._step_row)
        column.addWidget(self._strength_row)
        column.addLayout(self._boxes)
        column.addWidget(self.keep_box)
        self.split_button.toggled.connect(lambda on: session.show_split(on=on))
        self.original_button.pressed.connect(lambda: session.show_original(on=True))
        self.original_button.released.connect(lambda: session.show_original(on=False))
        for slider in (self.slider, self.strength_slider):
            slider.sliderMoved.connect(self._on_slider_moved)
            slider.valueChanged.connect(self._on_slider_set)
        self.continue_button.clicked.connect(session.continue_run)
        self.undo_button.clicked.connect(session.undo)
        self.save_button.clicked.connect(self.save)
        self.refresh()

    def refresh(self) -> None:
        """Show the controls that can be used now."""
        run, idle = self._session.current_run, self._session.state == State.IDLE
        done = idle and run is not None and run.result is not None
        self.setVisible(run is not None and run.layers.image_layer is not None)
        steps = run.steps if run is not None and done else []
        self._step_row.setVisible(bool(steps))
        self._strength_row.setVisible(run is not None and done and run.has_strength)
        result = run.result if run is not None else None
        if result is not self._result or steps != self._steps:  # a new one: sliders to the right
            self._result, self._steps = result, steps
            for slider, end in ((self.slider, len(steps)), (self.strength_slider, 100)):
                with signals_blocked(slider):
                    slider.setRange(0, end)
                    slider.setValue(end)
            self._show_positions()
        self.split_button.setVisible(run is not None and done and not run.is_complex)
        with signals_blocked(self.split_button):
            self.split_button.setChecked(self._session.split.is_on)
        blocked_by = self._session.continue_blocked_by()
        self.continue_button.setEnabled(idle and not blocked_by)
        self.continue_button.setToolTip(
            blocked_by or "Continue from where the run stopped, for as many steps again."
        )
        extras = run.layers.extras if run is not None and done else {}
        for number, name in enumerate(extras):  # without gaps
            self._boxes.removeWidget(self.extra_boxes[name])
            self._boxes.addWidget(self.extra_boxes[name], number // 3, number % 3)
        for name, box in self.extra_boxes.items():
            box.setVisible(name in extras)
            with signals_blocked(box):
                box.setChecked(extras.get(name, False))
        for button in (self.continue_button, self.undo_button, self.save_button, self.keep_box):
            button.setVisible(bool(done))

    def save(self) -> None:
        """Ask for a file name, and write the restored image to it."""
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

    def _on_extra(self, name: str, on: bool) -> None:  # noqa: FBT001 - a signal's signature
        run = self._session.current_run
        if run is not None:
            run.layers.show_extra(name, on=on)
            self.refresh()

    def _selection(self) -> tuple[int | None, float]:
        """The step, None for the automatic choice, and the strength that the sliders stand at."""
        position = self.slider.sliderPosition()
        step = self._steps[position] if position < len(self._steps) else None
        return step, self.strength_slider.sliderPosition() / 100

    def _show_positions(self) -> None:
        step, strength = self._selection()
        self.step_label.setText("selected step" if step is None else f"step {step}")
        self.strength_label.setText(f"{strength:.0%}")
        self.step_selected.emit(step or 0)

    def _on_slider_moved(self) -> None:
        self._show_positions()
        self._session.preview_image(*self._selection())

    def _on_slider_set(self) -> None:
        self._show_positions()
        self._session.select_image(*self._selection())


def _slider() -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setTracking(False)  # one result for each position, not for each pixel on the way
    return slider


def _row(*widgets: QWidget) -> QWidget:
    """Widgets in a row, of which the second takes the width that is left."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for number, widget in enumerate(widgets):
        layout.addWidget(widget, int(number == 1))
    return row


def _suggested_file(layer: Layer) -> tuple[str, str]:
    """Return a file name next to the source and in its format, and the formats to choose from."""
    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    path = Path(getattr(header, "path", "") or layer.name.partition(" [")[0])
    stem = path.name.partition(".")[0] or "image"
    suffixes = "".join(path.suffixes).lower()
    is_fits = any(suffix in suffixes for suffix in (".fit", ".fts", ".fz", ".asdf"))
    suffix = ".fits" if is_fits else ".ome.tif"
    formats = [FITS, OME, IMAGEJ] if is_fits else [OME, IMAGEJ, FITS]
    return str(path.with_name(f"{stem} restored{suffix}")), ";;".join(formats)
