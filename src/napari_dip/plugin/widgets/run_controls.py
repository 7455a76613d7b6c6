"""Run, and what can be wished for while it runs; how far it is, and how long it will take."""

from __future__ import annotations

import math

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_dip.core.device import in_use
from napari_dip.core.progress import Iterate
from napari_dip.plugin.session.run import State
from napari_dip.run.forecast import Outlook, seconds_left

DEVICES = {"cpu": "the CPU", "cuda": "the GPU", "mps": "the GPU"}


class RunPanel(QWidget):  # type: ignore[misc]
    """Shows the buttons that can be pressed now, and no others."""

    paused = Signal()
    """Pause, or Resume."""

    def __init__(self) -> None:
        super().__init__()
        self.run_button = QPushButton("Run")
        self.pause_button = QPushButton("Pause")
        self.finish_button = QPushButton("Finish and keep")
        self.cancel_button = QPushButton("Cancel")
        self.run_button.setToolTip("Restore the image. It stops by itself, and adds layers.")
        self.pause_button.setToolTip("Hold on. More holes may be painted meanwhile.")
        self.finish_button.setToolTip("Stop here and keep the best so far.")
        self.cancel_button.setToolTip("Stop here and keep nothing.")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        row = QHBoxLayout()
        for button in (self.run_button, self.pause_button, self.finish_button, self.cancel_button):
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
        held = [button for button in self.stops if button.hasFocus()]
        self.run_button.setVisible(idle)
        self.run_button.setEnabled(idle and ready)
        for button in self.stops[1:]:
            button.setVisible(not idle)
            button.setEnabled(active)
        self.cancel_button.setEnabled(active or state == State.FINISHING)
        self.pause_button.setText("Resume" if state == State.PAUSED else "Pause")
        self.bar.setVisible(not idle)
        if idle:
            self.bar.setValue(0)
        if held and held[0].isHidden():  # the keyboard stays where the person is
            (self.run_button if idle else self.pause_button).setFocus()

    @property
    def stops(self) -> tuple[QPushButton, ...]:
        """The buttons, as they are read."""
        return (self.run_button, self.pause_button, self.finish_button, self.cancel_button)


def progress_told(iterate: Iterate, usual: int, device: str) -> str:
    """Where a run stands, how long it will go on, and what it takes, as sentences."""
    counts = (
        ("frame", iterate.frame, iterate.frames),
        ("crop", iterate.crop, iterate.crops),
        ("fit", iterate.member, iterate.members),
    )
    where = "".join(f"{what} {at + 1} of {n}, " for what, at, n in counts if n > 1)
    left = seconds_left(iterate, usual)
    if left > 0:
        told = f"about {in_words(left)} left"
    else:
        told = f"it stops by itself, at step {iterate.steps} at the latest"
    remark = f" ({iterate.remark})" if iterate.remark else ""
    where = f"{where}step {iterate.step}, {in_words(iterate.seconds)}; {told}."
    return f"{where[0].upper()}{where[1:]} {in_gigabytes(in_use(device))} in use{_on(device)}{remark}."


def cost_told(outlook: Outlook) -> str:
    """What a run will take, as a sentence."""
    memory, device = in_gigabytes(outlook.memory), DEVICES[outlook.device]
    crops = f"; {outlook.crops}" if outlook.crops else ""
    if math.isnan(outlook.seconds):
        return f"{memory} on {device}; how long it takes is told once it runs{crops}"
    usual, longest = in_words(outlook.seconds), in_words(outlook.longest)
    most = f" ({longest} at the most)" if longest != usual else ""
    return f"about {usual}{most} on {device}, {memory}{crops}"


def _on(device: str) -> str:
    return " by napari" if device == "cpu" else f" on {DEVICES[device]}"


def in_words(seconds: float) -> str:
    """Seconds, minutes or hours, with as many digits as they are worth."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def in_gigabytes(size: float) -> str:
    """Gigabytes, with one digit that counts."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else "0.1 GB"
