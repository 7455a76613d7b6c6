"""Dynamic MRI in the dock: from k-space to magnitude and phase."""

import numpy as np
import pytest

from napari_dip.datasets import cardiac_cine, moving_head
from napari_dip.io.mri.arrays import kspace_image
from napari_dip.plugin.contributions import cine_sample, get_reader
from napari_dip.plugin.layers.image_data import layer_data
from napari_dip.plugin.session.run import State


@pytest.fixture(scope="module")
def heart():
    return cardiac_cine(0, side=32, beats=(3,), coils=4, acceleration=3)


@pytest.fixture
def dock(quick_dock):
    return quick_dock("Dynamic MRI")


def run(viewer, dock, qtbot, *images):
    for image in images:
        for data, meta, kind in layer_data(image, "heart"):
            getattr(viewer, f"add_{kind}")(data, **meta)
    dock.run()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)


def test_k_space_becomes_magnitude_and_phase(viewer, dock, qtbot, heart):
    run(viewer, dock, qtbot, kspace_image(heart.kspace, "", 0))
    for name in ("phase", "residual"):
        dock.result_controls.extra_boxes[name].click()
    layers = {layer.name.rpartition(" [")[2]: layer for layer in viewer.layers}
    restored, phase = layers["restored]"], layers["phase]"]
    assert restored.data.shape == phase.data.shape == (3, 32, 32)
    assert restored.axis_labels == ("t", "y", "x")
    assert restored.data.min() >= 0
    assert np.abs(phase.data).max() <= np.float32(np.pi)
    assert layers["residual]"].data.shape == (8, 3, 32, 32)


def test_k_space_is_chosen_and_not_the_coil_maps_of_its_file(viewer, quick_dock, qtbot, heart, tmp_path):
    np.savez(tmp_path / "heart.npz", kspace=heart.kspace, coils=heart.maps)
    viewer.open(tmp_path / "heart.npz", plugin="napari-dip")
    dock = quick_dock("Dynamic MRI")
    qtbot.waitUntil(lambda: dock.inputs.layer is not None, timeout=60_000)
    assert dock.inputs.layer.name == "heart.npz kspace"
    assert dock.inputs.auxiliary["coil_maps"].layer().name == "heart.npz coils"
    dock.inputs.image.choose(viewer.layers["heart.npz coils"])
    dock.run()
    qtbot.waitUntil(lambda: "the image is coil maps" in dock.status.text(), timeout=60_000)


def test_k_space_becomes_a_map_that_lies_on_its_images(viewer, quick_dock, qtbot, heart):
    dock = quick_dock("Map T1, T2, diffusion or decay")
    tasks = dock.form.tasks.task
    tasks.setCurrentIndex(tasks.findText("Map T2 from k-space"))
    dock.form.entry("signal.echo_times").value = "0.02, 0.04, 0.06"
    for name, value in (("solver.max_steps", 5), ("network.channels", 8)):
        dock.form.entry(name).value = value
    maps = kspace_image(heart.maps, "", 1)
    run(viewer, dock, qtbot, kspace_image(heart.kspace, "", 0), maps)
    layers = {layer.name.rpartition(" [")[2]: layer for layer in viewer.layers}
    assert layers["restored]"].data.shape == (3, 32, 32)
    assert layers["T2, s]"].data.shape == (32, 32)
    np.testing.assert_allclose(layers["T2, s]"].scale, layers["restored]"].scale[1:])
    dock.result_controls.extra_boxes["maps"].click()
    assert any(layer.name.endswith("[chi-square]") for layer in viewer.layers)


def test_times_of_k_space_truth_and_result_share_a_slider(viewer):
    viewer.open_sample("napari-dip", "cine")
    shapes = {layer.name: layer.data.shape for layer in viewer.layers}
    assert shapes["heart kspace"][1:] == shapes["heart truth"]
    assert viewer.layers["heart kspace"].axis_labels == ("c", "t", "y", "x")


def test_coil_maps_of_the_same_file_are_selected_and_used(viewer, dock, qtbot, heart):
    maps = kspace_image(heart.maps, "", 1)
    run(viewer, dock, qtbot, kspace_image(heart.kspace, "", 0), maps)
    assert dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["coil_maps"])
    assert (dock.inputs.image.layer().name, dock.inputs.auxiliary["coil_maps"].layer().name) == (
        "heart kspace",
        "heart coils",
    )
    first = next(x for x in viewer.layers if x.name.endswith("[restored]")).data
    dock.inputs.auxiliary["coil_maps"].choose(None)
    dock.run()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    second = [x for x in viewer.layers if "restored" in x.name][-1].data
    assert not np.allclose(first, second)


@pytest.mark.parametrize("first", ["dock", "sample"])
def test_the_k_space_of_the_sample_is_selected(viewer, qtbot, first):
    if first == "dock":
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Dynamic MRI")
    viewer.open_sample("napari-dip", "cine")
    if first == "sample":
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Dynamic MRI")
    combos = dock.inputs.image, dock.inputs.mask, dock.inputs.auxiliary["coil_maps"]
    names = ["heart kspace", "heart kspace - mask", "heart coils"]
    qtbot.waitUntil(lambda: [combo.currentText() for combo in combos] == names, timeout=300_000)


def test_an_image_that_is_not_k_space_is_refused(viewer, dock, qtbot):
    viewer.add_image(np.random.default_rng(0).normal(100, 10, (3, 3, 32, 40)), axis_labels="tcyx")
    dock.run()
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    assert "each coil needs two" in dock.status.text()


def test_the_sample_has_truth_coil_maps_and_visible_k_space():
    shown = {meta["name"]: meta.get("visible", True) for _, meta, _ in cine_sample()}
    assert [name for name, visible in shown.items() if visible] == ["heart kspace"]
    assert {"heart truth", "heart coils", "heart kspace"} <= set(shown)


def test_arrays_that_are_not_k_space_are_left_to_other_readers(tmp_path, heart):
    for name, array in (("real", np.ones((4, 32))), ("complex", heart.kspace)):
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "other.npz", something=heart.kspace)
    ours = {p.name: get_reader(str(p)) is not None for p in tmp_path.iterdir()}
    assert ours == {"real.npy": False, "complex.npy": True, "other.npz": False}


def test_a_moving_head_becomes_one_image_and_a_plot_of_its_motion(viewer, quick_dock, qtbot):
    dock = quick_dock("Motion correction (MRI)")
    head = moving_head(0, side=32, coils=4, shots=4, acceleration=1, size=1)
    run(viewer, dock, qtbot, kspace_image(head.kspace, "", 0), kspace_image(head.maps, "", 1))
    (restored,) = (layer for layer in viewer.layers if layer.name.endswith("[restored]"))
    assert restored.data.shape == (32, 32)
    assert not dock.summary._motion_box.isHidden()
    motion = dock.session.current_run.result.motion
    for curve, values in zip(dock.summary.motion.curves, motion.T, strict=True):
        exposures, shown = curve.getData()
        np.testing.assert_array_equal(exposures, [1, 2, 3, 4])
        np.testing.assert_array_equal(shown, values)


def test_the_sample_of_a_moving_head_has_its_shots_along_time(viewer):
    viewer.open_sample("napari-dip", "moving_head")
    kspace = viewer.layers["moving head kspace"]
    assert kspace.axis_labels == ("c", "t", "y", "x")
    assert kspace.data.shape == (16, 16, 128, 128)
    assert viewer.layers["moving head truth"].data.shape == (128, 128)
