"""The table of a batch: a row for each job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from napari_dip.plugin.session.batch_worker import THUMBNAIL_PX, JobDone
from napari_dip.plugin.widgets.run_controls import duration_text
from napari_dip.run.batch.job import Job, JobResult

COLUMNS = ("File", "State", "Remark", "Noise", "Residual / noise", "Time")
REMARK_PX = 110  # at first; tooltips have all of it


class JobTable(QTableWidget):  # type: ignore[misc]
    """A row for each job: its file, state, a remark (the assessment of its result, or what went wrong),
    noise before and after, residual, and time.
    """

    opened = Signal(str)
    """The file of a result that was double-clicked."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self._jobs: Sequence[Job] = ()
        self.results: dict[str, JobResult] = {}
        self.setHorizontalHeaderLabels(list(COLUMNS))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        self.setMinimumHeight(220)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Interactive)
        header.resizeSection(2, REMARK_PX)
        self.setWordWrap(False)
        self.setToolTip("Double-click a result to open it.")
        self.itemDoubleClicked.connect(self._on_double_click)

    @property
    def num_jobs(self) -> int:
        """Number of jobs."""
        return len(self._jobs)

    @property
    def num_failed(self) -> int:
        """Number of jobs that failed."""
        return sum(result.state == "failed" for result in self.results.values())

    def set_jobs(self, jobs: Sequence[Job]) -> None:
        """Show these jobs, none of them started."""
        self._jobs, self.results = jobs, {}
        self.setRowCount(len(jobs))
        for row, job in enumerate(jobs):
            self._write(row, Path(job.target).name, "waiting")

    def add_result(self, done: JobDone) -> None:
        """Show the end of a job."""
        result = self.results[done.result.output] = done.result
        row = next(n for n, job in enumerate(self._jobs) if job.target == result.output)
        figures, remark = ["", "", ""], result.reason
        if not math.isnan(result.sigma_before):
            noise = f"{result.sigma_before:.3g} → {result.sigma_after:.3g}"
            residual = "" if math.isnan(result.residual) else f"{result.residual:.2f}"
            figures, remark = [noise, residual, duration_text(result.seconds)], result.assessment
        self._write(row, Path(result.output).name, result.state, remark, *figures)
        for column in range(len(COLUMNS)):
            self.item(row, column).setToolTip(
                "\n".join(filter(None, (result.assessment, result.reason)))
            )
        if done.thumbnail is not None:
            self.item(row, 0).setIcon(_icon(done.thumbnail))
            self.resizeRowToContents(row)

    def mark_unfinished(self, state: str, count: int | None = None) -> None:
        """Write a state into the first `count` rows without a result, or into all of them."""
        rows = [row for row, job in enumerate(self._jobs) if job.target not in self.results]
        for row in rows[:count]:
            self.item(row, 1).setText(state)

    def _write(self, row: int, *texts: str) -> None:
        for column, text in enumerate(texts):
            self.setItem(row, column, QTableWidgetItem(text))

    def _on_double_click(self, item: QTableWidgetItem) -> None:
        target = self._jobs[item.row()].target
        if Path(target).exists():
            self.opened.emit(str(target))


def _icon(gray: NDArray[np.uint8]) -> QIcon:
    height, width = gray.shape
    image = QImage(gray.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return QIcon(QPixmap.fromImage(image.copy()))
