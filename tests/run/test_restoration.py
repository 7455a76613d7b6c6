import gc
import pickle
import threading

import numpy as np
import pytest

from napari_dip import Observation, Recipe, Request, restore
from napari_dip.core.device import free_memory
from napari_dip.core.errors import DeviceError, RestorationError
from napari_dip.core.torch_import import torch
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.warm_start import WarmStart

rng = np.random.default_rng(0)


def run_to_end(run):
    iterates = []
    while True:
        try:
            iterates.append(next(run))
        except StopIteration as end:
            return iterates, end.value


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX", "ZYX", "TCYX", "TZCYX"])
def test_the_image_has_the_axes_that_went_in(quick, axes):
    sizes = {"T": 2, "C": 3, "Z": 2, "Y": 33, "X": 40}
    array = rng.normal(10, 2, [sizes[a] for a in axes]).astype(np.float32)
    result = restore(Observation.from_array(array, axes=axes), quick)
    for part in (result.image, result.inpainted, result.residual):
        assert part.shape == array.shape
    assert result.image.dtype == np.float32
    assert np.isfinite(result.image).all()
    np.testing.assert_allclose(result.residual, array - result.image, rtol=0, atol=1e-5)
    assert len(result.history) == np.prod([sizes[a] for a in axes if a in "TZ"])


def test_the_same_seed_repeats_a_run_bit_for_bit(quick, observation):
    first, again = (restore(observation, quick).image for _ in range(2))
    other = restore(observation, quick.with_settings({"seed": 1})).image
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_reading_along_changes_nothing(quick, observation):
    alone = restore(observation, quick).image
    run = iter_restoration(observation, quick, snapshot_every=3)
    next(run)
    try:
        while True:
            assert run.send(Request(preview=True)).image is not None
    except StopIteration as end:
        np.testing.assert_array_equal(end.value.image, alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e9, -1e30])
def test_what_stands_in_a_hole_changes_nothing(quick, noisy, value):
    holes = np.zeros(noisy.shape, bool)
    holes[10:14, 20:26] = True
    before = restore(Observation.from_array(noisy, axes="YX", mask=holes), quick).image
    noisy[holes] = value
    after = restore(Observation.from_array(noisy, axes="YX", mask=holes), quick).image
    np.testing.assert_array_equal(before, after)


def test_inpainting_leaves_observed_pixels_as_they_are_and_marks_the_others(noisy):
    recipe = Recipe.preset("inpaint").with_settings(
        {"network.channels": 8, "network.depth": 3, "solver.max_steps": 20}
    )
    noisy = noisy.astype(np.float32)
    holes = np.zeros(noisy.shape, bool)
    holes[5:9] = True
    noisy[30, 30] = np.nan
    result = restore(Observation.from_array(noisy, axes="YX", mask=holes), recipe)
    missing = holes | np.isnan(noisy)
    np.testing.assert_array_equal(result.image[~missing], noisy[~missing])
    np.testing.assert_array_equal(result.inpainted, missing)
    assert np.isfinite(result.image).all()
    both = recipe.with_settings({"hard_data_consistency": False})
    denoised = restore(Observation.from_array(noisy, axes="YX", mask=holes), both)
    assert not np.array_equal(denoised.image[~missing], noisy[~missing])


@pytest.mark.parametrize("factor", [2.0**-66, 2.0**17])
def test_the_unit_does_not_matter(quick, noisy, factor):
    # Powers of two, 1e-20 and 1e5 or so: any other factor would round the data differently.
    one = restore(Observation.from_array(noisy, axes="YX"), quick).image
    scaled = restore(Observation.from_array(noisy * factor, axes="YX"), quick).image / factor
    np.testing.assert_allclose(scaled, one, rtol=1e-5)


def test_stars_whose_photons_are_noisy_are_curved_and_photographs_are_not(quick, scene):
    y, x = np.mgrid[:48, :56]
    stars = 3 + 400 * np.exp(-((y - 20) ** 2 + (x - 25) ** 2) / 6)
    told = {"noise.kind": "poisson", "noise.gain": 1.0, "refinement.patch_method": "none"}
    for light, scale in ((stars, "sinh"), (scene, "linear")):
        observation = Observation.from_array(
            np.random.default_rng(0).poisson(light).astype(float), axes="YX"
        )
        images = {
            kind: restore(observation, quick.with_settings({**told, "output.stretch": kind})).image
            for kind in ("auto", "linear", "sinh")
        }
        assert not np.array_equal(images["linear"], images["sinh"])
        np.testing.assert_array_equal(images["auto"], images[scale])


def test_the_verdict_tells_the_residual_in_units_of_the_noise(quick, noisy):
    observation = Observation.from_array(noisy, axes="YX")
    result = restore(observation, quick.with_settings({"noise.sigma": 4.0}))
    found = np.sqrt(np.mean((result.residual / 4) ** 2))
    (told,) = result.provenance["noise"]["residual"]
    assert told == pytest.approx(found, abs=1e-3)
    assert f"residual {told:.2f} times that (chi-square {told**2:.2f})" in result.summary


def test_finishing_keeps_the_best_so_far(quick, observation):
    recipe = quick.with_settings({"solver.max_steps": 100_000, "stopping.kind": "fixed"})
    run = iter_restoration(observation, recipe)
    next(run)
    with pytest.raises(StopIteration) as end:
        while True:
            run.send(Request(stop=True))
    result = end.value.value
    assert "finished by hand" in result.reason
    assert np.isfinite(result.image).all()
    assert result.steps < 10_000


def test_finishing_a_stack_leaves_the_frames_not_reached_empty(quick, noisy):
    recipe = quick.with_settings({"solver.max_steps": 100_000, "stopping.kind": "fixed"})
    run = iter_restoration(Observation.from_array(np.stack([noisy] * 3), axes="TYX"), recipe)
    next(run)
    with pytest.raises(StopIteration) as end:
        while True:
            run.send(Request(stop=True))
    image = end.value.value.image
    assert np.isfinite(image[0]).all()
    assert np.isnan(image[1:]).all()
    assert "not restored" in end.value.value.history[2].reason


def test_closing_a_run_ends_it(quick, observation):
    run = iter_restoration(observation, quick.with_settings({"solver.max_steps": 100_000}))
    next(run)
    run.close()
    with pytest.raises(StopIteration):
        next(run)


def test_ticks_are_light_and_snapshots_come_when_due(quick, observation):
    iterates, _ = run_to_end(iter_restoration(observation, quick, snapshot_every=5))
    with_image = [iterate.step for iterate in iterates if iterate.image is not None]
    assert with_image == [5, 10, 15, 20]
    assert all(0 < iterate.done <= 1 for iterate in iterates)


def test_results_and_iterates_survive_pickling(quick, observation):
    iterates, result = run_to_end(iter_restoration(observation, quick, snapshot_every=5))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(result)).image, result.image)
    assert pickle.loads(pickle.dumps(iterates[-1])).step == 20


@pytest.mark.parametrize("flat", [7.0, np.nan])
def test_a_channel_without_contrast_or_without_data_does_not_spoil_the_others(quick, noisy, flat):
    channels = np.stack([noisy, np.full_like(noisy, flat), noisy])
    result = restore(Observation.from_array(channels, axes="CYX"), quick)
    assert np.isfinite(result.image).all()
    assert np.std(result.image[0] - noisy) < 40


@pytest.mark.parametrize("steps", [20, 3])
def test_a_fit_that_diverges_says_so(quick, observation, steps):
    changes = {"solver.learning_rate": 1.0, "noise.sigma": 1e-37, "noise.relative_error": 0}
    recipe = quick.with_settings({**changes, "solver.max_steps": steps})
    with pytest.raises(RestorationError, match="diverged"):
        restore(observation, recipe)


def test_a_fit_that_diverges_says_so_when_it_is_finished_at_once(quick, observation):
    recipe = quick.with_settings(
        {"solver.learning_rate": 1.0, "noise.sigma": 1e-37, "noise.relative_error": 0}
    )
    run = iter_restoration(observation, recipe, snapshot_every=1)
    next(run)
    with pytest.raises(RestorationError, match="diverged"):
        run.send(Request(stop=True))


def test_the_result_says_how_it_came_about(quick, observation):
    result = restore(observation, quick)
    provenance = result.provenance
    assert Recipe.parse(provenance["recipe"], source="provenance") == quick
    assert provenance["input"]["sha256"] == observation.digest()
    assert provenance["noise"]["origin"] == "estimated"
    assert provenance["versions"].keys() >= {"napari-dip", "torch", "numpy", "python"}


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_a_full_memory_is_one_sentence(quick, observation, monkeypatch, failure):
    def fail(self, x):
        raise failure

    monkeypatch.setattr("napari_dip.prior.generator.Prior.__call__", fail)
    with pytest.raises(DeviceError, match="memory is full") as error:
        restore(observation, quick)
    assert "\n" not in str(error.value)


def test_other_errors_are_not_taken_for_a_full_memory(quick, observation, monkeypatch):
    def fail(self, x):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("napari_dip.prior.generator.Prior.__call__", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        restore(observation, quick)


def test_an_absent_device_is_one_sentence(quick, observation):
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    if absent == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has every device")
    with pytest.raises(DeviceError, match=absent):
        restore(observation, quick.with_settings({"compute.device": absent}))


@pytest.mark.slow
def test_the_noise_goes_down_and_the_run_stops_by_itself(scene):
    noisy = np.tile(scene, (2, 2)) + np.random.default_rng(0).normal(0, 15, (96, 112))
    result = restore(Observation.from_array(noisy, axes="YX"), Recipe.preset("denoise"))
    before, after = (np.std(image - np.tile(scene, (2, 2))) for image in (noisy, result.image))
    assert after < 0.5 * before
    assert "the half that was not fitted" in result.stop_reason


def test_the_verdict_tells_what_became_of_the_flux(quick, noisy):
    result = restore(Observation.from_array(noisy, axes="YX"), quick)
    change = result.image.sum(dtype=float) / noisy.sum(dtype=float) - 1
    assert f"flux changed by {100 * change:+.3f} %" in result.summary


def test_about_a_level_of_0_no_flux_is_told(quick, noisy):
    about_0 = noisy - noisy.mean()
    assert "flux" not in restore(Observation.from_array(about_0, axes="YX"), quick).summary


@pytest.mark.parametrize("task", ["denoise", "inpaint", "super-resolution"])
def test_what_is_under_a_hole_decides_nothing(task):
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    holes = np.zeros(array.shape, bool)
    holes[10:14, 20:30] = True
    quick = {"network.channels": 8, "network.depth": 2, "solver.max_steps": 25, "ensemble.size": 1}
    recipe = Recipe.preset(task).with_settings(quick)
    results = []
    for value in (0.0, np.nan, 1e9, -1e30):
        hidden = np.where(holes, value, array)
        observation = Observation.from_array(hidden, axes="YX", mask=holes)
        results.append(restore(observation, recipe).image)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_what_was_observed_stays_bit_for_bit_where_it_shall():
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    holes = np.zeros(array.shape, bool)
    holes[10:14, 20:30] = True
    recipe = Recipe.preset("inpaint").with_settings({"network.channels": 8, "solver.max_steps": 25})
    result = restore(Observation.from_array(array, axes="YX", mask=holes), recipe)
    np.testing.assert_array_equal(result.image[~holes], array[~holes])


@pytest.mark.parametrize("power", [-66, 13])
def test_units_that_lose_no_digit_change_nothing(quick, power):
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    images = []
    for factor in (1.0, 2.0**power):
        observation = Observation.from_array(array * np.float32(factor), axes="YX")
        images.append(restore(observation, quick).image / np.float32(factor))
    np.testing.assert_array_equal(*images)


def test_a_run_goes_on_as_if_it_had_never_stopped(quick, noisy):
    recipe = quick.with_settings({"stopping.kind": "fixed", "solver.max_steps": 40})
    observation = Observation.from_array(noisy, axes="YX")
    first = WarmStart(recipe)
    iter_restoration(observation, recipe, warm_start=first).result
    continued = iter_restoration(observation, recipe, warm_start=first.resume()).result
    at_once = restore(observation, recipe.with_settings({"solver.max_steps": 80}))
    assert continued.provenance["steps"] == 80
    np.testing.assert_array_equal(continued.image, at_once.image)
    np.testing.assert_array_equal(continued.history[0].loss, at_once.history[0].loss)


def test_what_was_learnt_is_at_hand_when_the_data_change(quick, noisy):
    recipe = quick.with_settings({"stopping.kind": "fixed", "solver.max_steps": 200})
    holes = np.zeros(noisy.shape, bool)
    holes[10:14, 10:14] = True
    whole, part = (Observation.from_array(noisy, axes="YX", mask=h) for h in (None, holes))
    starts = WarmStart(recipe)
    iter_restoration(whole, recipe, warm_start=starts).result
    anew = iter_restoration(part, recipe, warm_start=starts.restart()).result
    cold = restore(part, recipe)
    assert anew.inpainted.sum() == 16
    assert anew.history[0].loss[:20].mean() < cold.history[0].loss[:20].mean()


def test_garbage_is_collected_in_the_main_thread_only_but_in_need(monkeypatch):
    # A thread that deletes what belongs to a window waits for the window, which may wait for it.
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(threading.current_thread()))
    for in_need in (False, True):
        thread = threading.Thread(
            target=free_memory, args=[torch.device("cpu")], kwargs={"in_need": in_need}
        )
        thread.start()
        thread.join()
    assert collected == [thread]
    free_memory(torch.device("cpu"))
    assert collected == [thread, threading.main_thread()]
