import gc
import pickle
import threading

import numpy as np
import pytest

from napari_dip import Recipe, list_presets, restore
from napari_dip.core.device import free_memory
from napari_dip.core.errors import DeviceError, DivergenceError
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.warm_start import WarmStart

rng = np.random.default_rng(0)


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX", "ZYX", "TCYX", "TZCYX"])
def test_the_image_has_the_axes_that_went_in(fast_recipe, axes):
    sizes = {"T": 2, "C": 3, "Z": 2, "Y": 33, "X": 40}
    array = rng.normal(10, 2, [sizes[a] for a in axes]).astype(np.float32)
    result = restore(array, fast_recipe, axes=axes)
    for part in (result.image, result.inpainted, result.residual):
        assert part.shape == array.shape
    assert result.image.dtype == np.float32
    assert np.isfinite(result.image).all()
    np.testing.assert_allclose(result.residual, array - result.image, rtol=0, atol=1e-5)
    assert len(result.history) == np.prod([sizes[a] for a in axes if a in "TZ"])


# JPEG images have tests of their own: tests/physics/test_jpeg.py
@pytest.mark.parametrize("name", sorted({*list_presets()} - {"remove-jpeg-artifacts"}))
def test_every_preset_explains_its_data(name, fast_settings, scene, noisy, make_observation):
    scene, noisy = scene[8:40, 8:48], noisy[8:40, 8:48]
    settings = {**fast_settings, "solver.max_steps": 40, "refinement.iterations": 1}
    recipe = Recipe.preset(name).with_settings(settings)
    if recipe.operator.has_complex_scene and recipe.signal.kind != "none":
        observation, known = recipe.operator.make_example(seed=0), {}
        protocol = {"echo_times": tuple(0.01 * (n + 1) for n in range(len(observation.y)))}
        recipe = recipe.replace(signal=protocol)
    elif recipe.operator.combines_time:  # exposures, k-space
        observation, known = recipe.operator.make_example(seed=0), {}
    elif recipe.signal.kind != "none":
        observation, known = recipe.signal.make_example(seed=0), {}
    else:
        mask = np.zeros(noisy.shape, bool)
        mask[10:14, 20:26] = True
        observation, known = make_observation(noisy, mask=mask), {"guide": scene, "psf": np.ones((3, 3))}
    auxiliary = {name: array for name, array in known.items() if name in recipe.auxiliary}
    result = restore(observation, recipe, auxiliary=auxiliary)
    expected = [round(f * n) for f, n in zip(result.scale_factor, observation.y.shape[-2:], strict=True)]
    assert list(result.image.shape[-2:]) == expected
    assert np.isfinite(result.image).all()
    data = result.observation  # of some operators the mean of all frames
    assert result.residual.shape == data.to_input_axes(data.y).shape
    assert np.nanstd(result.residual) < 0.8 * np.nanstd(data.y)
    if result.image.shape == scene.shape and not recipe.operator.combines_time:
        assert np.sqrt(np.mean((result.image - scene) ** 2)) < 0.8 * scene.std()


def test_the_same_seed_repeats_a_run_bit_for_bit(fast_recipe, observation):
    first, again = (restore(observation, fast_recipe).image for _ in range(2))
    other = restore(observation, fast_recipe.with_settings({"seed": 1})).image
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_previews_change_nothing(fast_recipe, observation):
    alone = restore(observation, fast_recipe).image
    run = iter_restoration(observation, fast_recipe, snapshot_every=3)
    next(run)
    run.request_preview()
    for progress in run:
        assert progress.image is not None
        run.request_preview()
    np.testing.assert_array_equal(run.result.image, alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e9, -1e30])
def test_the_value_of_a_missing_pixel_changes_nothing(fast_recipe, noisy, value):
    mask = np.zeros(noisy.shape, bool)
    mask[10:14, 20:26] = True
    before = restore(noisy, fast_recipe, mask=mask).image
    noisy[mask] = value
    np.testing.assert_array_equal(before, restore(noisy, fast_recipe, mask=mask).image)


def test_inpainting_leaves_observed_pixels_as_they_are_and_marks_the_others(fast_settings, noisy):
    recipe = Recipe.preset("inpaint").with_settings(fast_settings)
    noisy = noisy.astype(np.float32)
    mask = np.zeros(noisy.shape, bool)
    mask[5:9] = True
    noisy[30, 30] = np.nan
    result = restore(noisy, recipe, mask=mask)
    missing = mask | np.isnan(noisy)
    np.testing.assert_array_equal(result.image[~missing], noisy[~missing])
    np.testing.assert_array_equal(result.inpainted, missing)
    assert np.isfinite(result.image).all()
    both = recipe.with_settings({"hard_data_consistency": False})
    denoised = restore(noisy, both, mask=mask)
    assert not np.array_equal(denoised.image[~missing], noisy[~missing])


@pytest.mark.parametrize("factor", [2.0**-66, 2.0**17])
def test_the_unit_does_not_matter(fast_recipe, noisy, factor):
    # Powers of two, 1e-20 and 1e5 or so: any other factor would round the data differently.
    one = restore(noisy, fast_recipe).image
    scaled = restore(noisy * factor, fast_recipe).image / factor
    np.testing.assert_allclose(scaled, one, rtol=1e-5)


def test_stars_whose_photons_are_noisy_are_stretched_and_photographs_are_not(fast_recipe, scene):
    y, x = np.mgrid[:48, :56]
    stars = 3 + 400 * np.exp(-((y - 20) ** 2 + (x - 25) ** 2) / 6)
    settings = {"noise.kind": "poisson", "noise.gain": 1.0, "refinement.patch_method": "none"}
    for photons, stretch in ((stars, "asinh"), (scene, "linear")):
        counts = np.random.default_rng(0).poisson(photons).astype(float)
        images = {
            kind: restore(counts, fast_recipe.with_settings({**settings, "output.stretch": kind})).image
            for kind in ("auto", "linear", "asinh")
        }
        assert not np.array_equal(images["linear"], images["asinh"])
        np.testing.assert_array_equal(images["auto"], images[stretch])


def test_the_summary_has_the_residual_in_units_of_the_noise(fast_recipe, noisy):
    result = restore(noisy, fast_recipe.with_settings({"noise.sigma": 4.0}))
    expected = np.sqrt(np.mean((result.residual / 4) ** 2))
    (residual,) = result.provenance.noise.residual
    assert residual == pytest.approx(expected, abs=1e-3)
    assert f"residual {residual:.2f} times that (chi-square {residual**2:.2f})" in result.summary


def test_stopping_keeps_the_best_so_far(fast_recipe, observation):
    recipe = fast_recipe.with_settings({"solver.max_steps": 100_000, "stopping.kind": "fixed"})
    run = iter_restoration(observation, recipe)
    next(run)
    run.stop()
    assert "stopped by hand" in run.result.stop_reason
    assert np.isfinite(run.result.image).all()
    assert run.result.steps < 10_000


def test_stopping_a_stack_leaves_the_planes_that_were_not_reached_empty(
    fast_recipe, noisy, make_observation
):
    recipe = fast_recipe.with_settings({"solver.max_steps": 100_000, "stopping.kind": "fixed"})
    run = iter_restoration(make_observation(np.stack([noisy] * 3), "TYX"), recipe)
    next(run)
    run.stop()
    image = run.result.image
    assert np.isfinite(image[0]).all()
    assert np.isnan(image[1:]).all()
    assert "not restored" in run.result.history[2].stop_reason


def test_closing_a_run_ends_it(fast_recipe, observation):
    run = iter_restoration(observation, fast_recipe.with_settings({"solver.max_steps": 100_000}))
    next(run)
    run.close()
    with pytest.raises(StopIteration):
        next(run)
    with pytest.raises(RuntimeError, match="cancelled"):
        _ = run.result


def test_leaving_the_block_cancels_a_run(fast_recipe, observation):
    with iter_restoration(observation, fast_recipe.with_settings({"solver.max_steps": 100_000})) as run:
        next(run)
    assert list(run) == []


def test_snapshots_come_when_due_and_other_reports_have_no_image(fast_recipe, observation):
    reports = list(iter_restoration(observation, fast_recipe, snapshot_every=5))
    with_image = [progress.step for progress in reports if progress.image is not None]
    assert with_image == [5, 10, 15, 20]
    assert all(0 < progress.fraction_done <= 1 for progress in reports)


def test_results_and_progress_survive_pickling(fast_recipe, observation):
    run = iter_restoration(observation, fast_recipe, snapshot_every=5)
    *_, last = run
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(run.result)).image, run.result.image)
    assert pickle.loads(pickle.dumps(last)).step == 20


@pytest.mark.parametrize("flat", [7.0, np.nan])
def test_a_channel_without_contrast_or_without_data_does_not_spoil_the_others(fast_recipe, noisy, flat):
    channels = np.stack([noisy, np.full_like(noisy, flat), noisy])
    result = restore(channels, fast_recipe, axes="CYX")
    assert np.isfinite(result.image).all()
    assert np.std(result.image[0] - noisy) < 40


@pytest.fixture
def diverging(monkeypatch):
    """Every fit diverges at its first step."""
    monkeypatch.setattr(Problem, "loss", lambda problem, x: torch.nan * x.sum())


@pytest.mark.parametrize("steps", [20, 3])
def test_a_fit_that_diverges_says_so(fast_recipe, observation, diverging, steps):
    recipe = fast_recipe.with_settings({"solver.max_steps": steps})
    with pytest.raises(DivergenceError, match="diverged"):
        restore(observation, recipe)


def test_a_fit_that_diverges_says_so_when_it_is_stopped_at_once(fast_recipe, observation, diverging):
    run = iter_restoration(observation, fast_recipe, snapshot_every=1)
    next(run)
    next(run)
    run.stop()
    with pytest.raises(DivergenceError, match="diverged"):
        _ = run.result


def test_the_provenance_says_how_the_result_was_made(fast_recipe, observation):
    provenance = restore(observation, fast_recipe).provenance
    assert Recipe.parse(provenance.recipe, source="provenance") == fast_recipe
    assert provenance.input.sha256 == observation.digest()
    assert provenance.noise.source == "estimated"
    assert provenance.versions.keys() >= {"napari-dip", "torch", "numpy", "python"}


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_a_full_memory_is_one_sentence(fast_recipe, observation, monkeypatch, failure):
    def fail(self, x):
        raise failure

    monkeypatch.setattr("napari_dip.prior.generator.Prior.__call__", fail)
    with pytest.raises(DeviceError, match="memory is full") as error:
        restore(observation, fast_recipe)
    assert "\n" not in str(error.value)


def test_other_errors_are_not_taken_for_a_full_memory(fast_recipe, observation, monkeypatch):
    def fail(self, x):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("napari_dip.prior.generator.Prior.__call__", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        restore(observation, fast_recipe)


def test_an_absent_device_is_one_sentence(fast_recipe, observation):
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    if absent == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has every device")
    with pytest.raises(DeviceError, match=absent):
        restore(observation, fast_recipe.with_settings({"compute.device": absent}))


@pytest.mark.slow
def test_the_noise_goes_down_and_the_run_stops_automatically(scene):
    noisy = np.tile(scene, (2, 2)) + np.random.default_rng(0).normal(0, 15, (96, 112))
    result = restore(noisy, "denoise")
    before, after = (np.std(image - np.tile(scene, (2, 2))) for image in (noisy, result.image))
    assert after < 0.5 * before
    assert "the error of the part that was not fitted was lowest at step" in result.stop_reason


def test_the_summary_says_how_the_flux_changed(fast_recipe, noisy):
    result = restore(noisy, fast_recipe)
    change = result.image.sum(dtype=float) / noisy.sum(dtype=float) - 1
    assert f"flux changed by {100 * change:+.3f} %" in result.summary


def test_about_a_level_of_0_the_summary_has_no_flux(fast_recipe, noisy):
    assert "flux" not in restore(noisy - noisy.mean(), fast_recipe).summary


@pytest.mark.parametrize("task", ["denoise", "inpaint", "super-resolution"])
def test_the_values_of_masked_pixels_decide_nothing(fast_settings, task):
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    mask = np.zeros(array.shape, bool)
    mask[10:14, 20:30] = True
    settings = {**fast_settings, "network.depth": 2, "ensemble.size": 1}
    recipe = Recipe.preset(task).with_settings(settings)
    first, *others = (
        restore(np.where(mask, value, array), recipe, mask=mask).image
        for value in (0.0, np.nan, 1e9, -1e30)
    )
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_observed_pixels_stay_bit_for_bit_with_hard_data_consistency(fast_settings):
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    mask = np.zeros(array.shape, bool)
    mask[10:14, 20:30] = True
    result = restore(array, Recipe.preset("inpaint").with_settings(fast_settings), mask=mask)
    np.testing.assert_array_equal(result.image[~mask], array[~mask])


@pytest.mark.parametrize("power", [-66, 13])
def test_units_that_lose_no_digit_change_nothing(fast_recipe, power):
    array = np.random.default_rng(0).normal(100, 9, (48, 48)).astype(np.float32)
    images = []
    for factor in (1.0, 2.0**power):
        images.append(restore(array * np.float32(factor), fast_recipe).image / np.float32(factor))
    np.testing.assert_array_equal(*images)


def test_a_run_is_continued_as_if_it_had_never_stopped(fast_recipe, noisy, make_observation):
    recipe = fast_recipe.with_settings({"stopping.kind": "fixed", "solver.max_steps": 40})
    observation = make_observation(noisy)
    first = WarmStart(recipe)
    _ = iter_restoration(observation, recipe, warm_start=first).result
    continued = iter_restoration(observation, recipe, warm_start=first.resume()).result
    at_once = restore(observation, recipe.with_settings({"solver.max_steps": 80}))
    assert continued.provenance.steps == 80
    np.testing.assert_array_equal(continued.image, at_once.image)
    np.testing.assert_array_equal(continued.history[0].loss, at_once.history[0].loss)


def test_what_was_learned_is_reused_when_the_data_change(fast_recipe, noisy, make_observation):
    recipe = fast_recipe.with_settings({"stopping.kind": "fixed", "solver.max_steps": 200})
    mask = np.zeros(noisy.shape, bool)
    mask[10:14, 10:14] = True
    whole, part = (make_observation(noisy, mask=m) for m in (None, mask))
    starts = WarmStart(recipe)
    _ = iter_restoration(whole, recipe, warm_start=starts).result
    warm = iter_restoration(part, recipe, warm_start=starts.restart()).result
    cold = restore(part, recipe)
    assert warm.inpainted.sum() == 16
    # 0.75 of it over two precisions, AVX2 and AVX-512.
    assert warm.history[0].loss[:20].mean() < 0.9 * cold.history[0].loss[:20].mean()


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
