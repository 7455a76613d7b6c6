"""Maps in the dock: from images at several echo times to a layer of T2."""

import numpy as np
import pytest
from astropy.io import fits

from napari_dip.core.header import Header
from napari_dip.plugin.contributions import echoes_sample
from napari_dip.plugin.layers.metadata import METADATA_KEY
from napari_dip.plugin.session.run import State

TIMES = (0.012, 0.03, 0.06, 0.09)


@pytest.fixture
def echoes():
    """(4, 40, 48)"""
    times = np.array(TIMES)[:, None, None]
    clean = np.broadcast_to(100 * np.exp(-times / np.linspace(0.04, 0.2, 48)), (4, 40, 48))
    return (clean + np.random.default_rng(0).normal(size=clean.shape)).astype(np.float32)


@pytest.fixture
def dock(quick_dock):
    return quick_dock("Map T1, T2, diffusion or decay")


@pytest.fixture
def run(dock, qtbot, click):
    def run():
        click(dock.run_controls.run_button)
        qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)

    return run


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_numbers_are_asked_for_and_the_map_is_on_top(viewer, dock, echoes, run, tmp_path, qtbot):
    viewer.add_image(echoes, name="head", axis_labels=("t", "y", "x"))
    qtbot.waitUntil(lambda: len(dock.form.field_errors.sentences) == 1, timeout=60_000)
    assert not dock.run_controls.run_button.isEnabled()
    (sentence,) = dock.form.field_errors.sentences
    assert "needs one number for each image" in sentence
    dock.form.entry("signal.echo_times").value = "0.012, 0.03, 0.06, 0.09"
    run()
    assert dock.form.recipe().signal.echo_times == TIMES
    assert names(viewer) == ["head", "head [restored]", "head [T2, s]"]
    assert viewer.layers["head [T2, s]"].data.shape == (40, 48)
    assert dock.session.current_run.has_strength is False
    box = dock.result_controls.extra_boxes["maps"]
    box.click()
    others = ["amplitude", "T2 std, s", "amplitude std", "chi-square"]
    assert names(viewer)[3:] == [f"head [{name}]" for name in others]
    assert not any(viewer.layers[f"head [{name}]"].visible for name in others)
    viewer.layers["head [T2, s]"].save(str(tmp_path / "t2.fits"), plugin="napari-dip")
    assert fits.getheader(tmp_path / "t2.fits")["BUNIT"] == "s"
    viewer.layers["head [restored]"].save(str(tmp_path / "all.fits"), plugin="napari-dip")
    assert fits.getdata(tmp_path / "all.fits", "T2").shape == (40, 48)
    box.click()
    assert names(viewer) == ["head", "head [restored]", "head [T2, s]"]
    dock.result_controls.undo_button.click()
    assert names(viewer) == ["head"]


def test_images_in_layers_of_their_own_with_their_numbers(viewer, dock, echoes, run):
    for image, time in zip(echoes, TIMES, strict=True):
        header = Header(protocol={"EchoTime": (time,)})
        viewer.add_image(image, name=f"echo {time}", metadata={METADATA_KEY: {"header": header}})
    viewer.layers.select_all()
    dock.inputs.image.choose(viewer.layers[0])
    run()
    assert viewer.layers["echo 0.012 [T2, s]"].data.shape == (40, 48)
    assert viewer.layers["echo 0.012 [restored]"].data.shape == (4, 40, 48)


def test_the_sample_knows_its_echo_times(viewer, dock, qtbot):
    shown = {meta["name"]: meta.get("visible", True) for _, meta, _ in echoes_sample()}
    assert shown == {"head": True, "head true T2": False}
    viewer.open_sample("napari-dip", "echoes")
    entry = dock.form.entry("signal.echo_times")
    placeholder = "0.012, 0.024, 0.036, 0.048, 0.06, 0.072, 0.084, 0.096 (from the file)"
    qtbot.waitUntil(lambda: entry.native.placeholderText() == placeholder, timeout=60_000)
