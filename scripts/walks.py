"""Walk through the real window as three people would: a picture of every step, the clicks counted.

    python scripts/walks.py [--quick] [--theme light] [WHO ...]

WHO is astronomy, microscopy or mri; all three where nobody is named. The pictures go to
docs/images/walks, or with --quick (few steps, small networks: nothing is restored well) nowhere.
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
from PIL import Image as Picture
from qtpy.QtCore import QBuffer, QEvent, QIODevice, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QWidget

from napari_dip.datasets import scratched_cell, star_field
from napari_dip.plugin.session.run import State

PICTURES = Path(__file__).parents[1] / "docs" / "images" / "walks"
SIZE = (1366, 768)
QUICK = {"network.channels": 8, "network.depth": 2, "stopping.kind": "fixed", "solver.max_steps": 60}
QUALITY = 80  # of the pictures


class Walk:
    """A person in front of napari: counts what they click, and takes pictures.

    Parameters
    ----------
    who : str
        Names the pictures.
    quick : bool
        Restore nothing well, and take no pictures.
    theme : str
        napari's.
    """

    def __init__(self, who: str, *, quick: bool, theme: str) -> None:
        self._who, self._quick, self._theme = who, quick, theme
        self._number = self.clicks = 0
        get_settings().appearance.theme = theme
        self.viewer = napari.Viewer()
        self._window = self.viewer.window._qt_window
        self._window.setGeometry(0, 0, *SIZE)
        self.wait(1)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Keep the window alive so long, or until something is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            QApplication.processEvents()
            time.sleep(0.01)

    def wait_for(self, what: str, true: Callable[[], bool], seconds: float = 3600) -> None:
        """Keep the window alive until something is true, and give up after so long."""
        self.wait(seconds, true)
        if not true():
            sys.exit(f"walks: {self._who} waited {seconds:.0f} s for {what}")

    def click(self, widget: QWidget, *, hold: float = 0) -> None:
        """Press a button that can be seen and pressed."""
        if not (widget.isVisible() and widget.isEnabled()):
            sys.exit(f"walks: {self._who} cannot press '{widget.text()}'")
        self._dock.ensureWidgetVisible(widget)
        self.wait(0.1)
        self.clicks += 1
        middle = widget.rect().center()
        QTest.mousePress(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)
        self.wait(hold)
        if hold:
            self.shot("held")
        QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)

    def choose(self, button: QWidget, text: str) -> None:
        """Open a button's menu and choose from it: two clicks."""
        self._choose(button.menu(), button.mapToGlobal(QPoint(0, button.height())), text)

    def open_dock(self, name: str) -> None:
        """*Plugins > napari-dip > name*: three clicks."""
        bar = self._window.menuBar()
        plugins = next(a for a in bar.actions() if a.text().replace("&", "") == "Plugins")
        plugins.menu().aboutToShow.emit()
        ours = next(a for a in plugins.menu().actions() if "napari-dip" in a.text())
        self.clicks += 1
        place = bar.mapToGlobal(bar.actionGeometry(plugins).bottomLeft())
        plugins.menu().popup(place)
        self.wait(0.3)
        below = plugins.menu().actionGeometry(ours).topRight()
        self._choose(ours.menu(), plugins.menu().mapToGlobal(below), name)
        plugins.menu().hide()
        docks = self.viewer.window.dock_widgets
        self._dock = next(docks[key] for key in docks if key.startswith(name))
        if self._quick:
            for setting, value in QUICK.items():
                self._dock.form.entry(setting).value = value
        self.viewer.reset_view()
        self.wait(1)

    @property
    def dock(self):
        """The dock that was opened."""
        return self._dock

    def shot(self, name: str) -> None:
        """Take a picture of the whole window, menus and all."""
        self.wait(0.5)
        self._number += 1
        if self._quick:
            return
        grabbed = QApplication.primaryScreen().grabWindow(0)
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        grabbed.save(buffer, "PNG")
        PICTURES.mkdir(parents=True, exist_ok=True)
        picture = Picture.open(io.BytesIO(bytes(buffer.data()))).convert("RGB").crop((0, 0, *SIZE))
        suffix = "" if self._theme == "dark" else f"_{self._theme}"
        path = PICTURES / f"{self._who}_{self._number}_{name}{suffix}.webp"
        picture.save(path, quality=QUALITY, method=6)
        print(f"  {path.name}", flush=True)

    def run_to_the_end(self, *, shot_after: float, most: float = 3600) -> None:
        """Press Run, take a picture on the way, and wait; after `most` seconds press Finish and keep."""
        self.click(self._dock.panel.run_button)
        self.wait(0.1 if self._quick else shot_after)
        self.shot("running")
        self.wait(most, lambda: self._dock.session.state == State.IDLE)
        if self._dock.session.state == State.RUNNING:
            self.click(self._dock.panel.finish_button)
        self.wait_for("the end of the run", lambda: self._dock.session.state == State.IDLE)
        self.wait(0.5)
        if self._dock.session.shown is None:
            sys.exit(f"walks: {self._who}: {self._dock.status.text()}")

    def save(self) -> Path:
        """Press Save and take the name that is offered: two clicks."""
        asked: list[str] = []

        def take_what_is_offered(
            parent: QWidget, title: str, name: str, formats: str
        ) -> tuple[str, str]:
            asked.append(name)
            self.clicks += 1
            return name, formats

        before, QFileDialog.getSaveFileName = QFileDialog.getSaveFileName, take_what_is_offered
        self.click(self._dock.after.save_button)
        QFileDialog.getSaveFileName = before
        if not Path(asked[0]).exists():
            sys.exit(f"walks: {self._who}: {self._dock.status.text()}")
        return Path(asked[0])

    def draw(self, layer: Labels, stroke: np.ndarray) -> None:
        """Paint along a stroke, (n, 2) rows and columns, with the brush in hand: one click, dragged."""
        self.clicks += 1
        step = tuple(self.viewer.dims.current_step[: layer.ndim - 2])
        layer.brush_size = 5
        for row, column in stroke:
            layer.paint((*step, round(row), round(column)), 1)
        self.wait(0.3)

    def show_only(self, *ends: str) -> None:
        """The layers whose names end so, and no others."""
        for layer in self.viewer.layers:
            layer.visible = layer.name.endswith(ends)

    def end(self) -> int:
        """Close the window; the number of clicks."""
        self.viewer.close()
        self.wait(0.5)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        print(f"{self._who}: {self.clicks} clicks", flush=True)
        return self.clicks

    def _choose(self, menu: QMenu, place: QPoint, text: str) -> None:
        action = next(a for a in menu.actions() if a.text().replace("&", "").startswith(text))
        self.clicks += 2
        menu.popup(place)
        menu.setActiveAction(action)
        self.wait(0.3)
        self.shot("menu")
        menu.hide()
        action.trigger()
        self.wait(0.5)


def astronomy(walk: Walk, folder: Path) -> None:
    """One noisy frame: open, run, save; then a closer look."""
    path = folder / "star_field.fits"
    star_field().writeto(path)
    walk.viewer.open(path, plugin="napari-dip")  # dropped on the window
    walk.viewer.layers["star_field.fits - holes"].visible = False
    walk.open_dock("Denoise")
    walk.wait_for("the forecast", lambda: bool(walk.dock.form.cost.text()), 60)
    walk.shot("before")
    walk.run_to_the_end(shot_after=8)
    walk.shot("done")
    saved = walk.save()
    walk.shot("saved")
    print(f"astronomy: {walk.clicks} clicks to a saved {saved.suffix} file", flush=True)
    walk.click(walk.dock.after.original_button, hold=0.5)
    walk.choose(walk.dock.inputs.tools_button, "North up")
    walk.show_only("residual in sigmas")
    walk.shot("residual")


def microscopy(walk: Walk, folder: Path) -> None:
    """A hyperstack with a scratch: two times, two channels; paint, run, look along time, save."""
    cell, scratch, _ = scratched_cell()
    place = slice(128, 320), slice(128, 320)
    plane = cell[place]
    stack = np.stack([[plane, plane[::-1]], [plane.T, plane.T[::-1]]])
    path = folder / "cells.ome.tif"
    about = {"axes": "TCYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
    about |= {f"PhysicalSize{a}Unit": "um" for a in "XY"}
    tifffile.imwrite(path, stack, metadata=about)
    walk.viewer.open(path, plugin="napari-dip")
    walk.open_dock("Denoise")
    walk.shot("opened")
    walk.choose(walk.dock.inputs.make_button, "An empty layer")
    holes = walk.dock.inputs.holes.layer()
    flagged = np.argwhere(scratch[place])
    for time_, channel, turn in ((0, 0, False), (0, 1, False), (1, 0, True), (1, 1, True)):
        walk.viewer.dims.current_step = (time_, channel, 0, 0)
        stroke = flagged[:, ::-1] if turn else flagged.copy()
        if channel:
            stroke = np.stack([len(plane) - 1 - stroke[:, 0], stroke[:, 1]], axis=1)
        walk.draw(holes, stroke)
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
    """A beating heart from k-space that was measured too sparsely; finished by hand."""
    walk.viewer.open_sample("napari-dip", "cine")
    walk.open_dock("Dynamic MRI")
    walk.shot("opened")
    walk.run_to_the_end(shot_after=30, most=2 if walk._quick else 240)
    walk.show_only("restored")
    walk.viewer.reset_view()
    walk.shot("done")
    walk.viewer.dims.current_step = (10, *walk.viewer.dims.current_step[1:])
    walk.shot("another_time")


WALKS = {"astronomy": astronomy, "microscopy": microscopy, "mri": mri}


def main() -> None:
    """Walk, and print the clicks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("who", nargs="*", default=list(WALKS), help=", ".join(WALKS))
    parser.add_argument("--quick", action="store_true", help="restore nothing well, take no pictures")
    parser.add_argument("--theme", default="dark")
    told = parser.parse_args()
    for who in told.who:
        print(f"{who}:", flush=True)
        walk = Walk(who, quick=told.quick, theme=told.theme)
        with tempfile.TemporaryDirectory() as folder:
            WALKS[who](walk, Path(folder))
        walk.end()


if __name__ == "__main__":
    main()
