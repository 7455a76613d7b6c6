"""Go through the real window as users would, with a screenshot of every step, and count clicks.

    python scripts/walks.py [--quick] [--theme light] [WALK ...]

WALK is astronomy, microscopy, mri or maps; without it all are done. The screenshots go to
docs/images/walks; with --quick (few steps, small networks, poor results) there are none.
Needs a display of 1366 x 768 pixels: ``xvfb-run -a -s "-screen 0 1366x768x24" python scripts/walks.py``.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import tifffile
from napari.layers import Labels
from napari.settings import get_settings
from PIL import Image as PilImage
from qtpy.QtCore import QBuffer, QEvent, QIODevice, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QCheckBox, QFileDialog, QMenu, QWidget

from napari_dip.datasets import scratched_cell, star_field
from napari_dip.plugin.session.run import State

SCREENSHOTS = Path(__file__).parents[1] / "docs" / "images" / "walks"
SIZE = (1366, 768)
QUICK = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed", "solver.max_steps": 60}
WEBP_QUALITY = 80


class Walk:
    """A user of napari: counts clicks, and takes screenshots.

    Parameters
    ----------
    name : str
        Name of the walk; the screenshots start with it.
    quick : bool
        Take a few steps with a small network, and no screenshots.
    theme : str
        Theme of napari.
    """

    def __init__(self, name: str, *, quick: bool, theme: str) -> None:
        self._name, self.quick, self._theme = name, quick, theme
        self._number = self.clicks = 0
        get_settings().appearance.theme = theme
        self.viewer = napari.Viewer()
        self._window = self.viewer.window._qt_window
        self._window.setGeometry(0, 0, *SIZE)
        self.wait(1)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Process events for some seconds, or until a condition is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            QApplication.processEvents()
            time.sleep(0.01)

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 3600) -> None:
        """Process events until a condition is true, and exit if it takes too long."""
        self.wait(seconds, condition)
        if not condition():
            sys.exit(f"walks: {self._name} waited {seconds:.0f} s for {what}")

    def click(self, widget: QWidget, *, hold: float = 0) -> None:
        """Press a button, which must be visible and enabled: one click."""
        if not (widget.isVisible() and widget.isEnabled()):
            sys.exit(f"walks: {self._name} cannot press '{widget.text()}'")
        self._dock.show_widget(widget)
        self.wait(0.1)
        self.clicks += 1
        center = widget.rect().center()
        if isinstance(widget, QCheckBox):  # its right part does not react
            center.setX(10)
        QTest.mousePress(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, center)
        self.wait(hold)
        if hold:
            self.shot("held")
        QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, center)

    def choose(self, button: QWidget, text: str) -> None:
        """Open the menu of a button and choose an entry: two clicks."""
        self._choose(button.menu(), button.mapToGlobal(QPoint(0, button.height())), text)

    def open_dock(self, name: str) -> None:
        """*Plugins > napari-dip > name*: two clicks, as the pointer opens the submenu."""
        bar = self._window.menuBar()
        plugins = next(a for a in bar.actions() if a.text().replace("&", "") == "Plugins")
        plugins.menu().aboutToShow.emit()
        submenu = next(a for a in plugins.menu().actions() if "napari-dip" in a.text())
        position = bar.mapToGlobal(bar.actionGeometry(plugins).bottomLeft())
        plugins.menu().popup(position)
        self.wait(0.3)
        corner = plugins.menu().actionGeometry(submenu).topRight()
        self._choose(submenu.menu(), plugins.menu().mapToGlobal(corner), name)
        plugins.menu().hide()
        docks = self.viewer.window.dock_widgets
        self._dock = next(docks[key] for key in docks if key.startswith(name))
        if self.quick:
            for setting, value in QUICK.items():
                self._dock.form.entry(setting).value = value
        self.viewer.reset_view()
        self.wait(1)

    @property
    def dock(self):
        """The opened dock."""
        return self._dock

    def shot(self, name: str) -> None:
        """Take a screenshot of the whole screen, with open menus."""
        self.wait(0.5)
        self._number += 1
        if self.quick:
            return
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        image = self.grab()
        suffix = "" if self._theme == "dark" else f"_{self._theme}"
        path = SCREENSHOTS / f"{self._name}_{self._number}_{name}{suffix}.webp"
        image.save(path, quality=WEBP_QUALITY, method=6)
        print(f"  {path.name}", flush=True)

    def grab(self) -> PilImage.Image:
        """Return a picture of the whole screen."""
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        QApplication.primaryScreen().grabWindow(0).save(buffer, "PNG")
        return PilImage.open(io.BytesIO(bytes(buffer.data()))).convert("RGB").crop((0, 0, *SIZE))

    def run_to_the_end(self, *, shot_after: float, max_seconds: float = 3600) -> None:
        """Press Run, take a screenshot, and wait; after `max_seconds` press *Stop and keep*."""
        self.click(self._dock.run_controls.run_button)
        self.wait(0.1 if self.quick else shot_after)
        self.shot("running")
        self.wait(max_seconds, lambda: self._dock.session.state == State.IDLE)
        if self._dock.session.state == State.RUNNING:
            self.click(self._dock.run_controls.stop_button)
        self.wait_for("the end of the run", lambda: self._dock.session.state == State.IDLE)
        self.wait(0.5)
        if self._dock.session.current_run is None:
            sys.exit(f"walks: {self._name}: {self._dock.status.text()}")

    def save(self) -> Path:
        """Press Save and accept the suggested name: two clicks."""
        suggested: list[str] = []

        def accept(parent: QWidget, title: str, name: str, formats: str) -> tuple[str, str]:
            suggested.append(name)
            self.clicks += 1
            return name, formats

        before, QFileDialog.getSaveFileName = QFileDialog.getSaveFileName, accept
        self.click(self._dock.result_controls.save_button)
        QFileDialog.getSaveFileName = before
        if not Path(suggested[0]).exists():
            sys.exit(f"walks: {self._name}: {self._dock.status.text()}")
        return Path(suggested[0])

    def draw(self, layer: Labels, stroke: np.ndarray) -> None:
        """Paint along a stroke, (n, 2) rows and columns, with the brush: one click, dragged."""
        self.clicks += 1
        step = tuple(self.viewer.dims.current_step[: layer.ndim - 2])
        layer.brush_size = 5
        for row, column in stroke:
            layer.paint((*step, round(row), round(column)), 1)
        self.wait(0.3)

    def show_only(self, *ends: str) -> None:
        """Show the layers whose names end like this, and hide the others."""
        for layer in self.viewer.layers:
            layer.visible = layer.name.endswith(ends)

    def end(self) -> int:
        """Close the window, and return the number of clicks."""
        self.viewer.close()
        self.wait(0.5)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        print(f"{self._name}: {self.clicks} clicks", flush=True)
        return self.clicks

    def _choose(self, menu: QMenu, position: QPoint, text: str) -> None:
        action = next(a for a in menu.actions() if a.text().replace("&", "").startswith(text))
        self.clicks += 2
        menu.popup(position)
        menu.setActiveAction(action)
        self.wait(0.3)
        self.shot("menu")
        menu.hide()
        action.trigger()
        self.wait(0.5)


def astronomy(walk: Walk, folder: Path) -> None:
    """Open one noisy image, run, save; then look at original, orientation and residual."""
    path = folder / "star_field.fits"
    star_field().writeto(path)
    walk.viewer.open(path, plugin="napari-dip")  # dropped on the window
    walk.viewer.layers["star_field.fits - mask"].visible = False
    walk.open_dock("Denoise")
    walk.wait_for("the forecast", lambda: bool(walk.dock.form.cost.text()), 60)
    walk.shot("before")
    walk.run_to_the_end(shot_after=8)
    walk.shot("done")
    saved = walk.save()
    walk.shot("saved")
    print(f"astronomy: {walk.clicks} clicks to a saved {saved.suffix} file", flush=True)
    walk.click(walk.dock.result_controls.original_button, hold=0.5)
    walk.choose(walk.dock.inputs.tools_button, "North up")
    walk.click(walk.dock.result_controls.extra_boxes["residual"])
    walk.show_only("[residual]")
    walk.shot("residual")


def microscopy(walk: Walk, folder: Path) -> None:
    """Open a hyperstack with a scratch (two times, two channels); paint, run, move in time, save."""
    cell, scratch, _ = scratched_cell()
    part = slice(128, 320), slice(128, 320)
    plane = cell[part]
    stack = np.stack([[plane, plane[::-1]], [plane.T, plane.T[::-1]]])
    path = folder / "cells.ome.tif"
    metadata = {"axes": "TCYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
    metadata |= {f"PhysicalSize{a}Unit": "um" for a in "XY"}
    tifffile.imwrite(path, stack, metadata=metadata)
    walk.viewer.open(path, plugin="napari-dip")
    walk.open_dock("Denoise")
    walk.shot("opened")
    walk.click(walk.dock.inputs.paint_button)
    mask = walk.dock.inputs.mask.layer()
    pixels = np.argwhere(scratch[part])
    for time_, channel, turn in ((0, 0, False), (0, 1, False), (1, 0, True), (1, 1, True)):
        walk.viewer.dims.current_step = (time_, channel, 0, 0)
        stroke = pixels[:, ::-1] if turn else pixels.copy()
        if channel:
            stroke = np.stack([len(plane) - 1 - stroke[:, 0], stroke[:, 1]], axis=1)
        walk.draw(mask, stroke)
    walk.viewer.dims.current_step = (0, 0, 0, 0)
    walk.shot("painted")
    walk.run_to_the_end(shot_after=10)
    walk.shot("done")
    walk.viewer.dims.current_step = (1, 1, 0, 0)
    walk.shot("another_time")
    saved = walk.save()
    walk.shot("saved")
    print(f"microscopy: {walk.clicks} clicks to a saved {saved.suffix} file", flush=True)


def mri(walk: Walk, folder: Path) -> None:
    """Reconstruct a beating heart from undersampled k-space, and stop the run by hand."""
    walk.viewer.open_sample("napari-dip", "cine")
    walk.open_dock("Dynamic MRI")
    walk.shot("opened")
    walk.run_to_the_end(shot_after=30, max_seconds=2 if walk.quick else 240)
    walk.show_only("[restored]")
    walk.viewer.reset_view()
    walk.shot("done")
    walk.viewer.dims.current_step = (10, *walk.viewer.dims.current_step[1:])
    walk.shot("another_time")


def maps(walk: Walk, folder: Path) -> None:
    """Map T2 of a simulated head, whose echo times the sample has."""
    walk.viewer.open_sample("napari-dip", "echoes")
    walk.open_dock("Map T1, T2, diffusion or decay")
    walk.shot("opened")
    walk.run_to_the_end(shot_after=20)
    walk.shot("done")
    print(f"maps: {walk.clicks} clicks to a map", flush=True)


WALKS = {"astronomy": astronomy, "microscopy": microscopy, "mri": mri, "maps": maps}


def main() -> None:
    """Do the walks, and print the number of clicks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("walks", nargs="*", default=list(WALKS), help=", ".join(WALKS))
    parser.add_argument("--quick", action="store_true", help="few steps, small networks, no screenshots")
    parser.add_argument("--theme", default="dark")
    arguments = parser.parse_args()
    for name in arguments.walks:
        print(f"{name}:", flush=True)
        walk = Walk(name, quick=arguments.quick, theme=arguments.theme)
        with tempfile.TemporaryDirectory() as folder:
            WALKS[name](walk, Path(folder))
        walk.end()


if __name__ == "__main__":
    main()
