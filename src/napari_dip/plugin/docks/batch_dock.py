"""The batch dock: one recipe for the files of a folder, or for the frames of a layer."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QGridLayout,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dip.core.errors import ReadError, RestorationError
from napari_dip.io import read_first_image
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock, ignore_wheel
from napari_dip.plugin.layers.metadata import related_layer
from napari_dip.plugin.layers.to_observation import write_frames
from napari_dip.plugin.widgets.layer_combo import LayerComboBox
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.settings_form import ACRONYMS
from napari_dip.run.batch.execute import run_jobs
from napari_dip.run.batch.executors import local_workers
from napari_dip.run.batch.job import Job, JobResult
from napari_dip.run.batch.plan import plan_jobs
from napari_dip.run.batch.summary import SUMMARY, write_summary
from napari_dip.run.recipe import Recipe, all_auxiliary

if TYPE_CHECKING:
    import napari

log = logging.getLogger(__name__)

FILES = "FITS and TIFF (*.fits *.fit *.fts *.gz *.fz *.tif *.tiff)"
THUMBNAIL = 40  # pixels along each side
COLUMNS = ("File", "State", "Noise", "Steps", "Time")
IDLE_MESSAGE = "Choose images and a folder for the results, and press Start."


@dataclass(frozen=True)
class _BatchRequest:
    """What a batch is asked for, as the dock stood when it was started."""

    recipe: Recipe
    folder: Path
    layer: Image | None
    holes: Labels | None
    target: Path
    workers: int
    companions: tuple[tuple[str, str], ...]


class BatchDock(ScrollingDock):
    """*Plugins > napari-dip > Batch*."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._stop: threading.Event | None = None
        self._jobs: list[Job] = []
        self._done: dict[str, JobResult] = {}
        self.form = RecipeForm("denoise")
        self.folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY, tooltip="A folder of FITS and TIFF files."
        )
        self.layer = LayerComboBox(napari_viewer, Image, none="none: the folder above")
        self.folder_out = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            tooltip="Where the results go, under the names of the files.",
        )
        self.extras = {
            name: FileEdit(mode=FileDialogMode.EXISTING_FILE, filter=FILES) for name in all_auxiliary()
        }
        self.workers = QSpinBox()
        self.workers.setRange(1, os.cpu_count() or 1)
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.bar = QProgressBar()
        self.table = QTableWidget(0, len(COLUMNS))
        self.say(IDLE_MESSAGE)
        self._lay_out()
        self.form.lay_out()
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop_work)
        self.table.itemDoubleClicked.connect(self._open)
        self.form.changed.connect(self._show_extras)
        self.form.refused.connect(self._on_refused)
        QApplication.instance().aboutToQuit.connect(self.stop_work)
        self._show_extras()
        self._show_running(on=False)

    def reset_choices(self, event: Any = None) -> None:
        """Called by napari when layers come, go, move or change their names."""
        self.layer.refresh()

    def stop_work(self) -> None:
        """Give up what is under way; what is done stays, and Start goes on from there."""
        if self._stop is not None:
            self._stop.set()
            self.say("Stopping ...")

    def start(self) -> None:
        """Begin, or say in one sentence why not."""
        from napari.qt.threading import create_worker

        try:
            order = self._order()
        except RestorationError as error:
            self.say(str(error), error=True)
            return
        self._stop = threading.Event()
        self._jobs, self._done = [], {}
        self.table.setRowCount(0)
        self._show_running(on=True)
        self.say("Looking for images ...")
        worker = create_worker(_run_batch, order, self._stop, _start_thread=False)
        worker.yielded.connect(self._on_update)
        worker.returned.connect(self._on_end)
        worker.start()

    def _order(self) -> _BatchRequest:
        folder, target, recipe = (
            self.folder.line_edit.value,
            self.folder_out.line_edit.value,
            self.form.recipe(),
        )
        layer = self.layer.layer()
        if not folder.strip() and layer is None:
            raise ReadError("there is nothing to restore: choose a folder of images, or a layer")
        if not target.strip():
            raise ReadError("say where the results go: choose a folder under Results")
        if layer is None and not Path(folder).is_dir():
            raise ReadError(f"there is no folder {folder}; choose another")
        companions = tuple(
            (name, entry.line_edit.value)
            for name, entry in self.extras.items()
            if name in recipe.auxiliary and entry.line_edit.value.strip()
        )
        holes = layer and related_layer(layer, self._viewer.layers, "holes")
        return _BatchRequest(
            recipe, Path(folder), layer, holes, Path(target), self.workers.value(), companions
        )

    def _lay_out(self) -> None:
        rows = self.form.basic_layout
        rows.addRow("Images in", self.folder.native)
        rows.addRow("or frames of", self.layer)
        rows.addRow("Results", self.folder_out.native)
        for name, entry in self.extras.items():
            rows.addRow(name.upper() if name in ACRONYMS else name.capitalize(), entry.native)
        rows.addRow("At a time", self.workers)
        self.layer.setToolTip("Its frames, along time and depth, are restored one by one.")
        self.workers.setToolTip("How many are restored side by side; they share the processor's cores.")
        buttons = QGridLayout()
        buttons.addWidget(self.start_button, 0, 0)
        buttons.addWidget(self.stop_button, 0, 1)
        self.bar.setTextVisible(False)
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.table.setMinimumHeight(220)
        self.table.verticalHeader().hide()
        head = self.table.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip("Double-click opens a result.")
        body = QWidget()
        column = QVBoxLayout(body)
        column.setSpacing(4)
        column.addWidget(self.form)
        column.addWidget(self.form.advanced_box)
        column.addLayout(buttons)
        for part in (self.bar, self.status, self.table):
            column.addWidget(part)
        column.addStretch(1)
        self.setWidget(body)
        ignore_wheel(body)

    def _show_extras(self) -> None:
        try:
            needed = self.form.recipe().auxiliary
        except RestorationError:  # an entry that is being typed
            return
        for name, entry in self.extras.items():
            self.form.basic_layout.setRowVisible(entry.native, name in needed)

    def _show_running(self, *, on: bool) -> None:
        self.start_button.setEnabled(not on)
        self.stop_button.setEnabled(on)
        self.form.enable(on=not on)
        for entry in (self.folder.native, self.layer, self.folder_out.native, self.workers):
            entry.setEnabled(not on)

    def _on_update(self, news: list[Job] | tuple[JobResult, NDArray[np.uint8] | None]) -> None:
        match news:
            case list(jobs):
                self._jobs = jobs
                self.bar.setRange(0, len(jobs))
                self.table.setRowCount(len(jobs))
                for number, job in enumerate(jobs):
                    self._write(number, Path(job.target).name, "waiting")
            case (row, thumbnail):
                self._done[row.output] = row
                number = next(n for n, job in enumerate(self._jobs) if job.target == row.output)
                noise = f"{row.sigma_before:.3g} → {row.sigma_after:.3g}"
                told = (
                    ("", "", "")
                    if row.state == "failed"
                    else (noise, str(row.steps), f"{row.seconds:.0f} s")
                )
                self._write(number, Path(row.output).name, row.state, *told)
                for column in range(len(COLUMNS)):
                    self.table.item(number, column).setToolTip(row.stop_reason)
                if thumbnail is not None:
                    self.table.item(number, 0).setIcon(_icon(thumbnail))
                    self.table.resizeRowToContents(number)
        self.bar.setValue(len(self._done))
        waiting = [n for n, job in enumerate(self._jobs) if job.target not in self._done]
        for number in waiting[: self.workers.value()]:
            self.table.item(number, 1).setText("running")
        if self._stop is not None and not self._stop.is_set():
            self.say(f"{len(self._done)} of {len(self._jobs)} are done.")

    def _write(self, number: int, *texts: str) -> None:
        for column, text in enumerate(texts):
            self.table.setItem(number, column, QTableWidgetItem(text))

    def _on_end(self, sentence: str) -> None:
        self._stop = None
        self._show_running(on=False)
        for number, job in enumerate(self._jobs):
            if job.target not in self._done:
                self.table.item(number, 1).setText("not done")
        failed = sum(row.state == "failed" for row in self._done.values())
        count = f"{len(self._done) - failed} of {len(self._jobs)} are done"
        count += f", {failed} failed (point at them to see why)" if failed else ""
        self.say(sentence or f"{count}; the folder has a summary, {SUMMARY}.", error=bool(failed))

    def _open(self, item: QTableWidgetItem) -> None:
        target = self._jobs[item.row()].target
        if Path(target).exists():
            self._viewer.open(target, plugin="napari-dip")

    def _on_refused(self, sentence: str) -> None:
        self.say(sentence, error=True)


def _run_batch(
    order: _BatchRequest, stop: threading.Event
) -> Generator[list[Job] | tuple[JobResult, NDArray[np.uint8] | None], None, str]:
    """The jobs, then each one's row and thumbnail; at last a sentence if it did not reach its end."""
    rows: dict[str, JobResult] = {}
    jobs: list[Job] = []
    try:
        sources = [str(order.folder)]
        if order.layer is not None:
            sources = [
                str(path) for path in write_frames(order.layer, order.holes, order.target / "frames")
            ]
        jobs = plan_jobs(order.recipe, sources, order.target, auxiliary=order.companions)
        yield jobs
        engine = partial(local_workers, order.workers)
        for row in run_jobs(jobs, engine, order.workers, stop=stop):
            rows[row.output] = row
            yield row, _thumbnail(row)
    except CancelledError:
        return f"Stopped: {len(rows)} of {len(jobs)} are done; Start goes on with the others."
    except (RestorationError, OSError) as error:
        return str(error)
    except Exception as error:  # superqt's workers would swallow a RuntimeError
        log.exception("a batch failed")
        return f"the batch failed ({error or type(error).__name__}); the log has the details"
    finally:
        if jobs:
            write_summary(order.target / SUMMARY, [rows[j.target] for j in jobs if j.target in rows])
    return ""


def _thumbnail(row: JobResult) -> NDArray[np.uint8] | None:
    """The first plane of a result, small and grey; None where there is none."""
    if row.state == "failed":
        return None
    image = read_first_image(row.output).planes_last()
    plane = image.array.reshape(-1, *image.array.shape[-2:])[0]
    step = max(1, max(plane.shape) // THUMBNAIL)
    small = plane[::step, ::step].astype(float)
    low, high = np.nanpercentile(small, (2, 99))
    grey = np.nan_to_num((small - low) / max(high - low, 1e-30))
    return np.ascontiguousarray(255 * np.clip(grey, 0, 1), np.uint8)


def _icon(grey: NDArray[np.uint8]) -> QIcon:
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return QIcon(QPixmap.fromImage(image.copy()))
