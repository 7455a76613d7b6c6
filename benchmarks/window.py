"""How long napari's window does not respond: its event loop while the dock measures, runs and stops.

    xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/window.py [--side 256] [--steps 600]

A turn of the event loop is the time between two ticks of a timer that is always due. One thread fits,
one serves the window; seed 0.
"""

import argparse
import time

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from common import conditions
from napari_dip.plugin.session.run import State


class Turns:
    """The durations of the turns of the event loop."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.durations: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(0)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.durations.append(now - self._last)
        self._last = now
        time.sleep(0.001)  # leave the processor to the fit

    def report(self, what: str, since: int) -> int:
        """Print the turns after the first `since`; return how many there are now."""
        turns = 1000 * np.array(self.durations[since:])
        median, most, worst = np.percentile(turns, (50, 99, 100))
        print(f"{what:34}{len(turns):8}{median:9.1f}{most:9.1f}{worst:9.0f}")
        return len(self.durations)


def wait(seconds: float, until=lambda: False) -> None:
    """Process the events of the window."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()


def main() -> None:
    """Print a table of turns in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    print(conditions(1))
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    turns = Turns()
    started = time.perf_counter()
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    print(f"the dock opens in {time.perf_counter() - started:.2f} s")
    wait(2)
    print(f"{'[ms]':34}{'turns':>8}{'median':>9}{'99 %':>9}{'worst':>9}")
    at = len(turns.durations)
    scene = 100 + 50 * np.hypot(*np.mgrid[-1 : 1 : args.side * 1j, -1 : 1 : args.side * 1j])
    viewer.add_image(scene + np.random.default_rng(0).normal(0, 5, scene.shape), name="a")
    wait(30, lambda: dock.form.cost.text())
    at = turns.report("image is measured (torch loads)", at)
    dock.form.entry("stopping.kind").value = "fixed"
    dock.form.entry("solver.max_steps").value = args.steps
    dock.form.entry("refinement.patch_method").value = "none"
    wait(5)
    for number in (1, 2):
        at = len(turns.durations)
        dock.run_controls.run_button.click()
        wait(600, lambda: dock.session.state == State.IDLE)
        at = turns.report(f"run {number}", at)
    wait(1)
    started = time.perf_counter()
    dock.run_controls.run_button.click()
    wait(60, lambda: "left" in dock.run_controls.bar.text())
    started = time.perf_counter()
    dock.run_controls.pause_button.click()
    print(f"Pause responds in {1000 * (time.perf_counter() - started):.0f} ms")
    started = time.perf_counter()
    dock.run_controls.discard_button.click()
    wait(60, lambda: dock.session.state == State.IDLE)
    print(f"Discard ends the run in {1000 * (time.perf_counter() - started):.0f} ms")
    viewer.close()


if __name__ == "__main__":
    main()
