"""The batch dock in a real window, used as a user would."""

import csv

import numpy as np
import pytest

from napari_dip.datasets import star_field
from napari_dip.io import read_first_image
from napari_dip.run.batch.summary import SUMMARY


@pytest.fixture
def dock(viewer, small_fit):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Batch")
    for setting, value in {**small_fit, "solver.max_steps": 20}.items():
        dock.form.entry(setting).value = value
    return dock


@pytest.fixture
def night(tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    for seed in range(3):
        star_field(seed=seed, side=64, stars=10).writeto(folder / f"frame{seed}.fits")
    return folder


def has_ended(dock):
    return dock.start_button.isEnabled()


def column(dock, number):
    return [dock.table.item(row, number).text() for row in range(dock.table.rowCount())]


def test_a_folder_is_restored_and_skipped_the_second_time(viewer, dock, night, tmp_path, qtbot, click):
    (night / "broken.fits").write_text("no image")
    dock.folder.line_edit.value = str(night)
    click(dock.start_button)
    assert "no folder for the results" in dock.status.text()
    dock.output_folder.line_edit.value = str(tmp_path / "out")
    for state in ("restored", "skipped"):
        click(dock.start_button)
        assert not dock.form.tasks.quality.isEnabled()
        qtbot.waitUntil(lambda: has_ended(dock), timeout=300_000)
        assert column(dock, 0) == ["broken.fits", "frame0.fits", "frame1.fits", "frame2.fits"]
        assert column(dock, 1) == ["failed", state, state, state]
        assert "1 failed" in dock.status.text()
        assert "is no FITS file" in dock.table.item(0, 1).toolTip()
        assert "is no FITS file" in column(dock, 2)[0]
        assert [float(ratio) > 0 for ratio in column(dock, 4)[1:]] == [True] * 3
        assert all(remark.startswith(("good", "check", "failed")) for remark in column(dock, 2)[1:])
        assert dock.bar.format().startswith("4 of 4, ")
        assert not dock.table.item(1, 0).icon().isNull()
    with (tmp_path / "out" / SUMMARY).open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["failed", *3 * ["skipped"]]
    dock.table.itemDoubleClicked.emit(dock.table.item(1, 0))
    assert "frame0.fits" in [layer.name for layer in viewer.layers]


def test_stop_keeps_finished_results_and_start_continues(dock, night, tmp_path, qtbot, click):
    dock.folder.line_edit.value, dock.output_folder.line_edit.value = str(night), str(tmp_path / "out")
    click(dock.start_button)
    qtbot.waitUntil(lambda: "restored" in column(dock, 1), timeout=300_000)
    dock.form.entry("solver.max_steps")
    click(dock.stop_button)
    qtbot.waitUntil(lambda: has_ended(dock), timeout=300_000)
    assert "press Start" in dock.status.text()
    done = column(dock, 1).count("restored")
    click(dock.start_button)
    qtbot.waitUntil(lambda: has_ended(dock), timeout=300_000)
    states = column(dock, 1)
    assert states.count("skipped") >= done
    assert set(states) <= {"skipped", "restored"}


def test_the_planes_of_a_layer_become_files(viewer, dock, tmp_path, qtbot, click):
    frames = np.random.default_rng(0).normal(100, 5, (2, 48, 40)).astype(np.float32)
    layer = viewer.add_image(
        frames, name="a/b", axis_labels=("t", "y", "x"), scale=(1, 0.2, 0.2), units=("s", "um", "um")
    )
    dock.layer.choose(layer)
    dock.output_folder.line_edit.value = str(tmp_path / "out")
    click(dock.start_button)
    qtbot.waitUntil(lambda: has_ended(dock), timeout=300_000)
    assert column(dock, 0) == ["a_b T0000 Z0000.tif", "a_b T0001 Z0000.tif"]
    assert column(dock, 1) == ["restored", "restored"]
    restored = read_first_image(tmp_path / "out" / "a_b T0001 Z0000.tif")
    assert restored.array.shape == (48, 40)
    assert restored.header.pixel_size["X"] == (0.2, "um")
    np.testing.assert_array_equal(
        read_first_image(tmp_path / "out" / "frames" / "a_b T0001 Z0000.tif").array, frames[1]
    )


def test_closing_the_dock_stops_its_batch(viewer, dock, night, tmp_path, qtbot, click):
    dock.form.entry("solver.max_steps").value = 1_000_000
    dock.folder.line_edit.value, dock.output_folder.line_edit.value = str(night), str(tmp_path / "out")
    click(dock.start_button)
    qtbot.waitUntil(lambda: "running" in column(dock, 1), timeout=300_000)
    stop = dock._stop
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(stop.is_set)
