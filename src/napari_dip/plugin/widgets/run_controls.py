"""The buttons of a run, how far it is, and how long it will take."""

from __future__ import annotations

import math

from psygnal import Signal
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_dip.core.device import memory_in_use
from napari_dip.core.progress import Progress
from napari_dip.plugin.session.run import State
from napari_dip.run.forecast import RunEstimate, remaining_seconds

DEVICES = {"cpu": "the CPU", "cuda": "the GPU", "mps": "the GPU"}
BAR_STEPS = 1000
RUN_TOOLTIP = "Restore the image: stops automatically, and adds a layer."
TRY_TOOLTIP = "Restore the middle of what is visible, 160 x 160 pixels, quickly: at quality fast."


class _SingleClickButton(QPushButton):  # type: ignore[misc]
    """A button that ignores the second click of a double-click: *Run* may have been in its place."""

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Do nothing."""
        event.accept()


class RunControls(QWidget):  # type: ignore[misc]
    """Shows the buttons that can be pressed now, and a progress bar."""

    paused = Signal()
    """Pause or Resume was pressed."""

    def __init__(self) -> None:
        super().__init__()
        self.run_button, self.try_button = QPushButton("Run"), QPushButton("Try on visible part")
        self.pause_button = _SingleClickButton("Pause")
        self.stop_button = _SingleClickButton("Stop and keep")
        self.discard_button = _SingleClickButton("Discard")
        self.pause_button.setToolTip("Pause the run. You can paint more of the mask meanwhile.")
        self.stop_button.setToolTip("Stop now and keep the best image so far.")
        self.discard_button.setToolTip("Stop now and keep nothing.")
        self.bar = QProgressBar()
        self.bar.setRange(0, BAR_STEPS)
        row = QHBoxLayout()
        for button in self.tab_order:
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.bar)
        column.addLayout(row)
        self.pause_button.clicked.connect(lambda: self.paused.emit())

    def show_state(self, state: State, *, ready: bool, refusal: str = "") -> None:
        """Show the buttons of a state; Run is enabled if it is `ready`, and else says why it is not."""
        idle, stopping = state == State.IDLE, state in (State.STOPPING, State.DISCARDING)
        active = state in (State.RUNNING, State.PAUSED)
        focused = [button for button in self.tab_order if button.hasFocus()]
        start, control = self.tab_order[:2], self.tab_order[2:]
        for button in control if idle else start:  # first: all of them together make the dock wide
            button.hide()
        for button in start if idle else control:
            button.show()
        for button in self.tab_order:
            button.setEnabled(ready if idle else active)
        for button, tooltip in zip(start, (RUN_TOOLTIP, TRY_TOOLTIP), strict=True):
            button.setToolTip(f"Cannot run: {refusal}" if refusal else tooltip)
        self.discard_button.setEnabled(active or state == State.STOPPING)
        self.pause_button.setText("Resume" if state == State.PAUSED else "Pause")
        self.bar.setVisible(not idle)
        self.bar.setRange(0, 0 if stopping else BAR_STEPS)  # without an end it is busy
        if idle:
            self.bar.setValue(0)
            self.bar.setFormat("Estimating the time ...")
        if focused and focused[0].isHidden():  # keep the keyboard focus in this row
            (self.run_button if idle else self.pause_button).setFocus()

    def show_progress(self, progress: Progress, typical_steps: int) -> int:
        """Move the progress bar with its times, and return its position, from 0 to BAR_STEPS."""
        done = progress.fraction_done
        if progress.is_single_fit:  # most fits stop long before the maximum
            done = max(done, min(progress.step / max(typical_steps, 1), 1))
        position = int(BAR_STEPS * done)
        self.bar.setValue(position)
        seconds, elapsed = remaining_seconds(progress, typical_steps), clock_text(progress.seconds)
        left = f"about {duration_text(seconds)} left" if seconds > 0 else "estimating the time"
        self.bar.setFormat(f"{done:.0%}, {left}, {elapsed} elapsed")
        return position

    @property
    def tab_order(self) -> tuple[QPushButton, ...]:
        """The buttons, from left to right."""
        return (
            self.run_button,
            self.try_button,
            self.pause_button,
            self.stop_button,
            self.discard_button,
        )


def progress_text(progress: Progress, device: str) -> str:
    """Return where a run stands, and its memory, as sentences."""
    counts = (
        ("block", progress.block, progress.blocks),
        ("tile", progress.tile, progress.tiles),
        ("fit", progress.member, 1 if progress.is_simulation else progress.members),
    )
    where = "".join(f"{noun} {index + 1} of {n}, " for noun, index, n in counts if n > 1)
    where += "fit of simulated data, " if progress.is_simulation else ""
    where = f"{where}step {progress.step}; stops automatically, at the latest at step {progress.steps}."
    memory = f"{memory_text(memory_in_use(device))} in use{_device_text(device)}"
    note = f" ({progress.note})" if progress.note else ""
    return f"{where[0].upper()}{where[1:]} {memory}{note}."


def cost_text(estimate: RunEstimate) -> str:
    """Return the time and memory that a run will take, as a sentence."""
    memory, device = memory_text(estimate.memory_bytes), DEVICES[estimate.device]
    tiles = f"; {estimate.tiles}" if estimate.tiles else ""
    if math.isnan(estimate.seconds):
        return f"{memory} on {device}; the time is estimated once it runs{tiles}"
    typical, longest = duration_text(estimate.seconds), duration_text(estimate.max_seconds)
    limit = f" (at most {longest})" if longest != typical else ""
    return f"about {typical}{limit} on {device}, {memory}{tiles}"


def duration_text(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, rounded."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def clock_text(seconds: float) -> str:
    """Return a duration as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def memory_text(size: float) -> str:
    """Return a number of bytes in GB, with one decimal."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else "0.1 GB"


def _device_text(device: str) -> str:
    return " by napari" if device == "cpu" else f" on {DEVICES[device]}"
