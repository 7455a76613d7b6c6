"""Run, and what can be wished for while it runs; how far it is, and how long it will take."""

from __future__ import annotations

import math

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_dip.core.device import memory_in_use
from napari_dip.core.progress import Progress
from napari_dip.plugin.session.run import State
from napari_dip.run.forecast import RunEstimate, remaining_seconds

DEVICES = {"cpu": "the CPU", "cuda": "the GPU", "mps": "the GPU"}


class RunControls(QWidget):  # type: ignore[misc]
    """Shows the buttons that can be pressed now, and no others."""

    paused = Signal()
    """Pause, or Resume."""

    def __init__(self) -> None:
        super().__init__()
        self.run_button = QPushButton("Run")
        self.pause_button = QPushButton("Pause")
        self.stop_button = QPushButton("Finish and keep")
        self.discard_button = QPushButton("Cancel")
        self.run_button.setToolTip("Restore the image. It stops by itself, and adds layers.")
        self.pause_button.setToolTip("Hold on. More holes may be painted meanwhile.")
        self.stop_button.setToolTip("Stop here and keep the best so far.")
        self.discard_button.setToolTip("Stop here and keep nothing.")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        row = QHBoxLayout()
        for button in (self.run_button, self.pause_button, self.stop_button, self.discard_button):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.bar)
        self.pause_button.clicked.connect(lambda: self.paused.emit())

    def show_state(self, state: State, *, ready: bool) -> None:
        """The buttons of a state; Run only where something is `ready` to be run."""
        idle = state == State.IDLE
        active = state in (State.RUNNING, State.PAUSED)
        held = [button for button in self.tab_order if button.hasFocus()]
        self.run_button.setVisible(idle)
        self.run_button.setEnabled(idle and ready)
        for button in self.tab_order[1:]:
            button.setVisible(not idle)
            button.setEnabled(active)
        self.discard_button.setEnabled(active or state == State.FINISHING)
        self.pause_button.setText("Resume" if state == State.PAUSED else "Pause")
        self.bar.setVisible(not idle)
        if idle:
            self.bar.setValue(0)
        if held and held[0].isHidden():  # the keyboard stays where the person is
            (self.run_button if idle else self.pause_button).setFocus()

    @property
    def tab_order(self) -> tuple[QPushButton, ...]:
        """The buttons, as they are read."""
        return (self.run_button, self.pause_button, self.stop_button, self.discard_button)


def progress_text(iterate: Progress, usual: int, device: str) -> str:
    """Where a run stands, how long it will go on, and what it takes, as sentences."""
    counts = (
        ("frame", iterate.block, iterate.blocks),
        ("crop", iterate.tile, iterate.tiles),
        ("fit", iterate.member, iterate.members),
    )
    where = "".join(f"{what} {at + 1} of {n}, " for what, at, n in counts if n > 1)
    left = remaining_seconds(iterate, usual)
    if left > 0:
        told = f"about {duration_text(left)} left"
    else:
        told = f"it stops by itself, at step {iterate.steps} at the latest"
    remark = f" ({iterate.note})" if iterate.note else ""
    where = f"{where}step {iterate.step}, {duration_text(iterate.seconds)}; {told}."
    return f"{where[0].upper()}{where[1:]} {memory_text(memory_in_use(device))} in use{device_text(device)}{remark}."


def cost_text(outlook: RunEstimate) -> str:
    """What a run will take, as a sentence."""
    memory, device = memory_text(outlook.memory_bytes), DEVICES[outlook.device]
    crops = f"; {outlook.tiles}" if outlook.tiles else ""
    if math.isnan(outlook.seconds):
        return f"{memory} on {device}; how long it takes is told once it runs{crops}"
    usual, longest = duration_text(outlook.seconds), duration_text(outlook.max_seconds)
    most = f" ({longest} at the most)" if longest != usual else ""
    return f"about {usual}{most} on {device}, {memory}{crops}"


def device_text(device: str) -> str:
    return " by napari" if device == "cpu" else f" on {DEVICES[device]}"


def duration_text(seconds: float) -> str:
    """Seconds, minutes or hours, with as many digits as they are worth."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def memory_text(size: float) -> str:
    """Gigabytes, with one digit that counts."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else "0.1 GB"
