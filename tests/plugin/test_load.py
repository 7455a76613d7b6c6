"""A long session: many runs, many of them discarded; two viewers; data and devices that fail."""

import gc

import dask.array as da
import numpy as np
import psutil
import pytest

from napari_dip.plugin.session.run import State
from napari_dip.prior.generator import Prior

RUNS = 100


def test_a_hundred_runs_leave_no_memory_behind(model, session, script, fast_recipe):
    recipe = fast_recipe.with_settings({"solver.max_steps": 6, "refinement.patch_method": "none"})
    longer = recipe.with_settings({"solver.max_steps": 500})  # discarded at its first report
    rng = np.random.default_rng(0)
    sides = [(48, 64), (64, 48), (96, 96), (40, 120)]
    used = []
    process = psutil.Process()

    def discard_every_other(progress):
        if number % 2:
            session.cancel()

    def priors():
        return [thing for thing in gc.get_objects() if type(thing) is Prior]

    script.after = discard_every_other
    kept = priors()  # alive because of other tests in this process
    old_ids = {id(prior) for prior in kept}
    for number in range(RUNS):
        layer = model.add_image(rng.normal(100, 9, sides[number % 4]), name=f"a{number}")
        session.run(recipe if number % 2 == 0 else longer, layer)
        assert session.state == State.IDLE
        discarded = "Discarded" in session.sentences[-1][0]
        assert discarded == bool(number % 2), session.sentences[-1]
        model.layers.clear()
        if number % 10 == 9:
            gc.collect()
            assert not [prior for prior in priors() if id(prior) not in old_ids]
        used.append(process.memory_info().rss)
    grown = np.polyfit(np.arange(RUNS - 30), used[30:], 1)[0] * RUNS
    assert grown < 40e6, f"{grown / 1e6:.0f} MB in {RUNS} runs"


def test_two_viewers_restore_at_the_same_time(make_napari_viewer, qtbot):
    docks = []
    for number in range(2):
        viewer = make_napari_viewer()
        viewer.add_image(np.random.default_rng(number).normal(100, 9, (40, 48)), name=f"a{number}")
        _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
        changes = {"network.channels": 8, "network.depth": 2}
        for setting, value in {**changes, "stopping.kind": "fixed", "solver.max_steps": 200}.items():
            dock.form.entry(setting).value = value
        docks.append((viewer, dock))
    for _, dock in docks:
        dock.run_controls.run_button.click()
    sessions = [dock.session for _, dock in docks]
    qtbot.waitUntil(lambda: all(s.state == State.IDLE for s in sessions), timeout=300_000)
    for number, (viewer, _) in enumerate(docks):
        names = [layer.name for layer in viewer.layers]
        assert f"a{number} [restored]" in names
        assert all(name.startswith(f"a{number}") for name in names)


def test_a_chunk_that_cannot_be_read_is_reported(viewer, quick_dock):
    pixels, is_gone = np.random.default_rng(0).normal(100, 9, (40, 48)), []

    def chunk(block_info):
        if is_gone:
            raise OSError("the disk is gone")
        return pixels

    data = da.map_blocks(chunk, chunks=((40,), (48,)), dtype=float, meta=np.empty((0, 0)))
    viewer.add_image(data, contrast_limits=(0, 200), name="a", cache=False)
    dock = quick_dock("Denoise")
    is_gone.append(True)
    dock.run_controls.run_button.click()
    assert "the disk is gone" in dock.status.text()
    assert dock.session.state == State.IDLE
    assert dock.run_controls.run_button.isEnabled()


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: the launch timed out and was terminated\nCompile with TORCH_USE_CUDA_DSA",
        "CUDA error: device-side assert triggered",
        "CUDA driver error: device unplugged",
    ],
)
def test_a_device_that_fails_is_reported_in_one_sentence(
    model, session, fast_recipe, noisy, monkeypatch, words
):
    steps = []

    def fails(self, *args, **kwargs):
        steps.append(1)
        if len(steps) > 2:
            raise RuntimeError(words)
        return before(self, *args, **kwargs)

    before = Prior.__call__
    monkeypatch.setattr(Prior, "__call__", fails)
    layer = model.add_image(noisy, name="a")
    session.run(fast_recipe, layer)
    (sentence, failed) = session.sentences[-1]
    assert failed
    assert words.split("\n")[0] in sentence
    assert "\n" not in sentence
    assert session.state == State.IDLE
    monkeypatch.undo()
    session.run(fast_recipe, layer)  # and the next one works
    assert not session.sentences[-1][1]
    assert [layer.name for layer in model.layers].count("a [restored]") == 1
