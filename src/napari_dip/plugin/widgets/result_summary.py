"""What a run found: whether its result can be used, three numbers, and all the rest on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_dip.core.provenance import MIN_RESIDUAL
from napari_dip.core.result import Result
from napari_dip.plugin.widgets.folding import folded
from napari_dip.plugin.widgets.motion_plot import MotionPlot

if TYPE_CHECKING:
    from napari.utils.theme import Theme

ICONS = {"good": "\N{CHECK MARK}", "check": "\N{WARNING SIGN}", "failed": "\N{BALLOT X}"}


class ResultSummary(QWidget):  # type: ignore[misc]
    """A small table of a result, how its scene moved, and under *Details* how it was made.

    Attributes
    ----------
    noise, residual, flux_change : QLabel
        The numbers of the table.
    motion : MotionPlot
        Rotation and shift in each exposure, where the scene moved.
    details : QLabel
        The summary of the result.
    copy_button : QPushButton
        Copies it.
    """

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.noise, self.residual, self.flux_change = QLabel(), QLabel(), QLabel()
        self.details, self.copy_button = QLabel(wordWrap=True), QPushButton("Copy")
        self.copy_button.setToolTip("Copy the verdict and the details.")
        self.noise.setWordWrap(True)  # it also says where the noise comes from
        self._verdict = ""
        self._table = QFormLayout()
        self._table.setContentsMargins(0, 0, 0, 0)
        self._table.setVerticalSpacing(2)
        for name, label in (
            ("Noise", self.noise),
            ("Residual / noise", self.residual),
            ("Flux change", self.flux_change),
        ):
            self._table.addRow(name, label)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addWidget(self.details)
        column.addWidget(self.copy_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(self._table)
        self.motion = MotionPlot(theme)
        self._motion_box = folded("Motion", self.motion)
        column.addWidget(self._motion_box)
        column.addWidget(folded("Details", inside))
        self.copy_button.clicked.connect(self._copy)
        self.hide()

    def restyle(self, theme: Theme) -> None:
        """Use the colors of a napari theme."""
        self.motion.restyle(theme)

    def show_result(self, result: Result) -> None:
        """Show what is known of a result."""
        motion = result.motion
        self._motion_box.setVisible(motion is not None)
        if motion is not None:
            self.motion.show_motion(motion)
        noise, change = result.provenance.noise, result.provenance.flux_change
        ratio = noise.median_residual
        self.noise.setText(f"{noise.sigma_text} ({noise.source})")
        self.residual.setText(f"{ratio:.2f}" if ratio > MIN_RESIDUAL else "")
        self.flux_change.setText("" if change is None else f"{100 * change:+z.3f} %")
        for label in (self.residual, self.flux_change):
            self._table.setRowVisible(label, bool(label.text()))
        self._verdict = verdict(result)
        self.details.setText(_sentence(result.summary.split("\n")[1]))
        self.show()

    def _copy(self) -> None:
        QApplication.clipboard().setText(f"{self._verdict}\n{self.details.text()}")


def verdict(result: Result) -> str:
    """Return whether a result can be used, as an icon, a word and a sentence."""
    level, reasons = result.assessment.level, "; ".join(result.assessment.reasons)
    if level == "good":
        kept = result.provenance.noise.median_residual <= MIN_RESIDUAL
        reasons = (
            "observed pixels are as they were, and missing ones are filled"
            if kept
            else "what was removed looks like noise"
        )
    return f"{ICONS[level]} {level.capitalize()}: {reasons}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
