"""Stacks in the dock: their axes, joint restoration, and the way to a file and back."""

import numpy as np
import pytest
import tifffile

from napari_dip.io import read
from napari_dip.plugin.session.run import State


@pytest.fixture
def dock(quick_dock):
    return quick_dock("Denoise")


def visible_combos(dock):
    return {t: dock.form.basic_layout.isRowVisible(q) for t, q in dock.inputs.axes.joint_combos.items()}


def choose(dock, letter, joint_axes):
    combo = dock.inputs.axes.joint_combos[letter]
    combo.setCurrentIndex(combo.findData(joint_axes))


def stack(*shape):
    return np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)


def test_each_axis_is_named_and_each_stack_axis_asked_for(viewer, dock):
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.axes.line_edit)
    viewer.add_image(stack(3, 2, 4, 32, 40), axis_labels=("t", "c", "z", "y", "x"))
    assert dock.inputs.axes.line_edit.text() == "TCZYX"
    assert dock.inputs.axes.summary.text() == "3 times, 2 channels, 4 depths, 40 x 32 pixels"
    assert visible_combos(dock) == {"T": True, "Z": True}
    viewer.add_image(stack(32, 40), name="flat")
    dock.inputs.image.choose(viewer.layers["flat"])
    assert (dock.inputs.axes.line_edit.text(), visible_combos(dock)) == ("YX", {"T": False, "Z": False})


def test_a_choice_enters_the_recipe_and_the_choice_of_a_task_is_shown(viewer, dock):
    viewer.add_image(stack(3, 4, 32, 40), axis_labels=("t", "z", "y", "x"))
    for letter, joint_axes in (("T", "T"), ("Z", "TZ")):
        choose(dock, letter, joint_axes=True)
        assert dock.form.recipe().stack.joint_axes == joint_axes
    dock.form.tasks.task.setCurrentIndex(dock.form.tasks.task.findText("Denoise a time series"))
    assert [q.currentData() for q in dock.inputs.axes.joint_combos.values()] == [True, False]
    dock.form.entry("stack.joint_axes").value = "Z"
    assert [q.currentData() for q in dock.inputs.axes.joint_combos.values()] == [False, True]


def test_exposures_that_are_combined_are_not_a_series(viewer, dock):
    viewer.add_image(stack(3, 32, 40), axis_labels=("t", "y", "x"))
    assert visible_combos(dock)["T"]
    dock.form.tasks.task.setCurrentIndex(dock.form.tasks.task.findText("Combine exposures"))
    assert not visible_combos(dock)["T"]


def test_corrected_axes_are_those_of_the_result(viewer, dock, qtbot):
    layer = viewer.add_image(stack(3, 32, 40), axis_labels=("t", "y", "x"), name="a")
    dock.inputs.axes.line_edit.setText("tt")
    assert (
        dock.inputs.axes.summary.text() == "Under Advanced, name each of its 3 axes once: T, C, Z, Y, X."
    )
    dock.run()
    assert "name 2 axes and the image has 3" in dock.status.text()
    dock.inputs.axes.line_edit.setText("zyx")
    assert visible_combos(dock) == {"T": False, "Z": True}
    dock.run()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    result = viewer.layers["a [restored]"].metadata["napari-dip"]["result"]
    assert (result.axes, viewer.layers["a [restored]"].axis_labels) == ("ZYX", ("z", "y", "x"))
    assert layer.axis_labels == ("t", "y", "x")


def test_colors_are_not_an_axis_to_name(viewer, dock):
    viewer.add_image(np.zeros((32, 40, 3), np.uint8), rgb=True)
    assert (dock.inputs.axes.line_edit.text(), dock.inputs.axes.axes) == ("YX", "YXC")
    assert dock.inputs.axes.summary.text() == "3 channels, 40 x 32 pixels"


@pytest.mark.parametrize("joint_axes", ["none", "T", "TZ"])
def test_a_hyperstack_keeps_its_axes_sizes_and_channels_through_the_dock_and_a_file(
    viewer, dock, tmp_path, qtbot, joint_axes
):
    source, target = tmp_path / "cells.ome.tif", tmp_path / "restored.ome.tif"
    sizes = {"X": 0.2, "Y": 0.25, "Z": 0.9}
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "Cy5"]}, "TimeIncrement": 2.5}
    metadata |= {f"PhysicalSize{a}": size for a, size in sizes.items()} | {"TimeIncrementUnit": "s"}
    metadata |= {f"PhysicalSize{a}Unit": "µm" for a in sizes}
    tifffile.imwrite(source, stack(2, 3, 2, 32, 48), metadata=metadata)
    (layer,) = viewer.open(source, plugin="napari-dip")
    assert dock.inputs.axes.summary.text() == "2 times, 3 depths, 2 channels, 48 x 32 pixels"
    dock.form.entry("stack.joint_axes").value = joint_axes
    dock.run()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    restored = viewer.layers[f"{layer.name} [restored]"]
    assert (restored.data.shape, restored.axis_labels) == (layer.data.shape, layer.axis_labels)
    assert np.allclose(restored.scale, layer.scale)
    restored.save(target, plugin="napari-dip")
    before, after = read(source), read(target)
    assert (after.axes, after.y.shape) == (before.axes, before.y.shape)
    assert after.header.pixel_size == before.header.pixel_size
    assert set(after.header.pixel_size) == {"T", "Z", "Y", "X"}
    assert after.header.channels == before.header.channels == ("DAPI", "Cy5")
