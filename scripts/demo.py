"""Restore a simulated star field with the dock in napari's window, and save the result."""

import sys
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_dip.datasets import star_field
from napari_dip.plugin.session.run import State


def wait_until(condition, seconds: float) -> None:
    """Process events until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"demo: the run did not end within {seconds:.0f} s")
        QApplication.processEvents()
        time.sleep(0.01)


def pause(seconds: float) -> None:
    """Process events for some seconds."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds + 5)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    frame, restored, screenshot = (
        folder / name for name in ("star_field.fits", "restored.fits", "window.png")
    )
    star_field().writeto(frame, overwrite=True)

    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.open(frame, plugin="napari-dip")
    viewer.layers["star_field.fits - mask"].visible = False
    viewer.reset_view()
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    pause(1)

    print("restoring; this stops automatically ...", flush=True)
    start = time.monotonic()
    dock.run_controls.run_button.click()
    wait_until(lambda: dock.session.state == State.IDLE, 3600)
    print(dock.status.text(), dock.summary.details.text(), f"({time.monotonic() - start:.0f} s)")

    layer = viewer.layers["star_field.fits [restored]"]
    layer.save(str(restored), plugin="napari-dip")
    viewer.layers.selection = {layer}
    for other in viewer.layers:  # before and after, next to each other
        other.visible = other.name in ("star_field.fits", layer.name)
    viewer.canvas.grid.stride = 1
    viewer.canvas.grid.enabled = True
    viewer.reset_view()
    pause(1)
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    print(f"the frame:  {frame}\nrestored:   {restored}\nthe window: {screenshot}")
    viewer.close()


if __name__ == "__main__":
    main()
