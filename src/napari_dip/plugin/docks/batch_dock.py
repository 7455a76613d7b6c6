"""The batch dock: one recipe for the files of a folder, or for the planes of a layer."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from napari.layers import Image
from qtpy.QtWidgets import (
    QApplication,
    QGridLayout,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_dip.core.errors import ReadError, RestorationError
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock
from napari_dip.plugin.layers.metadata import MASK, related_layer
from napari_dip.plugin.session.batch_worker import BatchRequest, JobDone, batch_worker
from napari_dip.plugin.widgets.entries import label_text
from napari_dip.plugin.widgets.job_table import JobTable
from napari_dip.plugin.widgets.layer_combo import LayerComboBox
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.run_controls import clock_text, duration_text
from napari_dip.run.batch.job import Job
from napari_dip.run.batch.summary import SUMMARY
from napari_dip.run.recipe import all_auxiliary

if TYPE_CHECKING:
    import napari

FILES = "FITS and TIFF (*.fits *.fit *.fts *.gz *.fz *.tif *.tiff)"
IDLE_MESSAGE = "Choose images and a folder for the results, then press Start."


class BatchDock(ScrollingDock):
    """*Plugins > napari-dip > Batch*."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._stop: threading.Event | None = None
        self._start_time = 0.0
        self.form = RecipeForm("denoise")
        self.folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY, tooltip="A folder with FITS and TIFF files."
        )
        self.layer = LayerComboBox(napari_viewer, Image, none="none (use the folder)")
        self.output_folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            tooltip="The folder for the results, which have the names of their files.",
        )
        self.auxiliary = {
            name: FileEdit(mode=FileDialogMode.EXISTING_FILE, filter=FILES) for name in all_auxiliary()
        }
        self.workers = QSpinBox()
        self.workers.setRange(1, os.cpu_count() or 1)
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.bar = QProgressBar()
        self.table = JobTable()
        self.say(IDLE_MESSAGE)
        self._lay_out()
        self.form.lay_out()
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop_work)
        self.table.opened.connect(self._open)
        self.form.changed.connect(self._show_auxiliary)
        self.form.refused.connect(self._on_refused)
        QApplication.instance().aboutToQuit.connect(self.stop_work)
        self._show_auxiliary()
        self._show_running(on=False)

    def reset_choices(self, event: Any = None) -> None:
        """Update the list of layers; napari calls this when layers change."""
        self.layer.refresh()

    def stop_work(self) -> None:
        """Stop the batch; finished results stay, and Start continues from there."""
        if self._stop is not None:
            self._stop.set()
            self.say("Stopping ...")

    def start(self) -> None:
        """Start the batch, or say why it cannot start."""
        try:
            request = self._request()
        except RestorationError as error:
            self.say(str(error), error=True)
            return
        self._stop, self._start_time = threading.Event(), time.monotonic()
        self.bar.setRange(0, 0)  # busy until the files are known
        self.table.set_jobs([])
        self._show_running(on=True)
        self.say("Looking for images ...")
        worker = batch_worker(request, self._stop)
        # Methods of the dock, which Qt disconnects when the dock is deleted.
        worker.yielded.connect(self._on_update)
        worker.returned.connect(self._on_end)
        worker.start()

    def _request(self) -> BatchRequest:
        """Return what was entered.

        Raises
        ------
        RestorationError
            If an entry is missing or wrong.
        """
        recipe, layer = self.form.recipe(), self.layer.layer()
        folder, output_folder = self.folder.line_edit.value, self.output_folder.line_edit.value
        if not folder.strip() and layer is None:
            raise ReadError("there is nothing to restore: choose a folder of images, or a layer")
        if not output_folder.strip():
            raise ReadError("no folder for the results is given: choose one under Results")
        if layer is None and not Path(folder).is_dir():
            raise ReadError(f"there is no folder {folder}; choose another one")
        auxiliary = tuple(
            (name, entry.line_edit.value)
            for name, entry in self.auxiliary.items()
            if name in recipe.auxiliary and entry.line_edit.value.strip()
        )
        mask: Any = layer and related_layer(layer, self._viewer.layers, MASK)
        return BatchRequest(
            recipe, Path(folder), layer, mask, Path(output_folder), self.workers.value(), auxiliary
        )

    def _lay_out(self) -> None:
        rows = self.form.basic_layout
        rows.addRow("Images in", self.folder.native)
        rows.addRow("or planes of", self.layer)
        rows.addRow("Results", self.output_folder.native)
        for name, entry in self.auxiliary.items():
            rows.addRow(label_text(name), entry.native)
        rows.addRow("At a time", self.workers)
        self.layer.setToolTip("Its planes, along time and depth, are restored separately.")
        self.workers.setToolTip(
            "Number of images restored at the same time; they share the cores of the processor."
        )
        row = QWidget()
        buttons = QGridLayout(row)
        buttons.setContentsMargins(0, 0, 0, 0)
        buttons.addWidget(self.start_button, 0, 0)
        buttons.addWidget(self.stop_button, 0, 1)
        self.bar.setFormat("")
        body = QWidget()
        column = QVBoxLayout(body)
        column.setSpacing(4)
        column.addWidget(self.form)
        column.addWidget(self.form.advanced_box)
        column.addWidget(self.table, 1)
        self.lay_out(body, self.status, self.bar, row)

    def _show_auxiliary(self) -> None:
        """Show the entries for the auxiliary data that the recipe uses."""
        try:
            needed = self.form.recipe().auxiliary
        except RestorationError:  # an entry is being typed
            return
        for name, entry in self.auxiliary.items():
            self.form.basic_layout.setRowVisible(entry.native, name in needed)

    def _show_running(self, *, on: bool) -> None:
        self.start_button.setEnabled(not on)
        self.stop_button.setEnabled(on)
        self.form.enable(on=not on)
        for entry in (self.folder.native, self.layer, self.output_folder.native, self.workers):
            entry.setEnabled(not on)

    def _on_update(self, update: list[Job] | JobDone) -> None:
        if isinstance(update, JobDone):
            self.table.add_result(update)
        else:
            self.bar.setRange(0, len(update))
            self.table.set_jobs(update)
        num_done = len(self.table.results)
        self.bar.setValue(num_done)
        self.bar.setFormat(self._progress_text(num_done))
        self.table.mark_unfinished("running", self.workers.value())
        if self._stop is not None and not self._stop.is_set():
            self.say(f"{num_done} of {self.table.num_jobs} are done.")

    def _progress_text(self, num_done: int) -> str:
        """How many files are done, and how long the others will take; skipped ones take no time."""
        elapsed, number = time.monotonic() - self._start_time, self.table.num_jobs
        restored = sum(result.state == "restored" for result in self.table.results.values())
        seconds = elapsed / restored * (number - num_done) if restored else 0
        left = f"about {duration_text(seconds)} left, " if seconds else ""
        return f"{num_done} of {number}, {left}{clock_text(elapsed)} elapsed"

    def _on_end(self, sentence: str) -> None:
        self._stop = None
        self._show_running(on=False)
        self.bar.setRange(0, max(self.table.num_jobs, 1))
        self.bar.setValue(len(self.table.results))
        self.table.mark_unfinished("not done")
        failed = self.table.num_failed
        count = f"{len(self.table.results) - failed} of {self.table.num_jobs} are done"
        count += f", {failed} failed (*Remark* says why)" if failed else ""
        self.say(sentence or f"{count}; {SUMMARY} in the folder summarizes them.", error=bool(failed))

    def _open(self, path: str) -> None:
        self._viewer.open(path, plugin="napari-dip")

    def _on_refused(self, sentence: str) -> None:
        self.say(sentence, error=True)
