"""Whole images by one network that is fitted to random crops of them."""

import pickle
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import tifffile

import napari_dip as dip
from napari_dip import Recipe, iter_restore, restore
from napari_dip.core.errors import DeviceError, SettingsError
from napari_dip.core.torch_import import torch
from napari_dip.io import read_provenance
from napari_dip.prior.self_supervision import SelfSupervision
from napari_dip.run import amortized
from napari_dip.run.batch import plan_jobs, run_job
from napari_dip.run.executors import dask_workers
from napari_dip.run.forecast import RunEstimator
from napari_dip.run.tiles import planner

CPU = torch.device("cpu")
SIGMA = 10.0
Y, X = np.mgrid[:200, :180]
SCENE = 100 + 20 * np.sin(X / 17) + 60.0 * (np.hypot(Y - 90, X - 70) < 30)
NOISE = np.random.default_rng(0).normal(0, SIGMA, SCENE.shape)
OTHER_SCENE = 100 + 30 * np.sign(np.sin(X / 23) * np.sin(Y / 19))
OTHER_NOISE = np.random.default_rng(4).normal(0, SIGMA, SCENE.shape)
FAST = {"solver.method": "amortized", "solver.max_steps": 120, "compute.device": "cpu"}


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture
def recipe():
    return Recipe.preset("denoise").with_settings(FAST)


@pytest.fixture(scope="module")
def result(make_observation):
    observation = make_observation(SCENE + NOISE)
    return restore(observation, Recipe.preset("denoise").with_settings(FAST))


def test_the_noise_goes_and_the_scene_stays(result):
    error = result.image - SCENE
    assert rms(error) < 0.4 * SIGMA
    assert result.assessment.level == "good"
    assert "one network for the whole image, fitted to crops of it" in result.summary
    assert [len(history.loss) for history in result.history] == [120]
    slope = np.mean(error * NOISE) / np.mean(NOISE**2)
    assert abs(slope) < 0.15


def test_the_total_flux_is_that_of_the_data(result):
    assert result.image.sum(dtype=float) == pytest.approx((SCENE + NOISE).sum(), rel=1e-6)
    assert abs(result.provenance.flux_change) < 1e-6
    assert np.nanmean(result.residual) == pytest.approx(0, abs=1e-4)


def test_the_same_seed_repeats_it(result, recipe, make_observation):
    again = restore(make_observation(SCENE + NOISE), recipe)
    np.testing.assert_array_equal(again.image, result.image)
    other = restore(make_observation(SCENE + NOISE), recipe.replace(seed=1))
    assert rms(other.image - result.image) > 0.01 * SIGMA


def star_field(shape, sigmas):
    """Stars with peaks of so many `sigmas`, 20 pixels apart, on a sky of 100; and their places."""
    rng = np.random.default_rng(0)
    scene, places = np.full(shape, 100.0), []
    for row in range(12, shape[0] - 12, 20):
        for column in range(12, shape[1] - 12, 20):
            y, x = np.mgrid[row - 9 : row + 10, column - 9 : column + 10] - rng.uniform(-0.5, 0.5)
            peak = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.3**2))
            scene[row - 9 : row + 10, column - 9 : column + 10] += sigmas * SIGMA * peak
            places.append((row, column))
    return scene, places


@pytest.mark.parametrize("scene", ["stars", "shapes"])
def test_parts_have_no_seams(recipe, make_observation, monkeypatch, scene):
    shape = (420, 300)
    truth = (
        star_field(shape, 20)[0] if scene == "stars" else np.tile(SCENE, (3, 3))[: shape[0], : shape[1]]
    )
    data = truth + np.random.default_rng(5).normal(0, SIGMA, shape)
    changes = {"solver.max_steps": 30, "refinement.patch_method": "none"}
    observation, recipe = make_observation(data), recipe.with_settings(changes)
    monkeypatch.setattr(amortized, "is_noisy", lambda _: False)  # after so few steps it is
    whole = restore(observation, recipe)
    monkeypatch.setattr(planner, "APPLICATION_TILE_PX", 256)
    parts = restore(observation, recipe)
    assert parts.provenance.source_flux_corrected == (scene == "stars")
    np.testing.assert_array_equal(parts.image, whole.image)


def test_parts_that_are_refined_differ_by_little(recipe, make_observation, monkeypatch):
    scene = np.tile(SCENE, (3, 2))[:420, :300]
    data = scene + np.random.default_rng(5).normal(0, SIGMA, scene.shape)
    observation = make_observation(data)
    whole = restore(observation, recipe)
    assert whole.provenance.refinement == "patches"
    monkeypatch.setattr(planner, "APPLICATION_TILE_PX", 256)
    parts = restore(observation, recipe)
    assert rms(parts.image - whole.image) < 0.01 * SIGMA
    assert np.abs(parts.image - whole.image).max() < 0.1 * SIGMA


def test_faint_stars_keep_their_flux(recipe, make_observation):
    truth, places = star_field((300, 320), 3)
    data = truth + np.random.default_rng(6).normal(0, SIGMA, truth.shape)
    changes = {"solver.max_steps": 200, "noise.sigma": SIGMA}

    def flux_of(image):
        return sum(image[y - 3 : y + 4, x - 3 : x + 4].sum(dtype=float) - 4900 for y, x in places)

    share, errors = {}, {}
    for setting in ("off", "auto"):
        changes["refinement.source_flux_correction"] = setting
        image = restore(make_observation(data), recipe.with_settings(changes)).image
        share[setting], errors[setting] = flux_of(image) / flux_of(truth), rms(image - truth)
    assert share["off"] < 0.92
    assert share["auto"] == pytest.approx(1, abs=0.04)
    assert errors["auto"] < 1.15 * errors["off"] < 0.3 * SIGMA


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"mask": np.random.default_rng(1).random(SCENE.shape) < 0.1}),
        ({}, {"mask": (X < 75) & (Y > 60)}),
        ({"self_supervision.method": "masked"}, {"mask": (X < 75) & (Y > 60)}),
        ({}, {"sigma": np.where(X < 90, 0.5, 1.5) * SIGMA}),
        ({"noise.censored": True, "noise.saturation": 165.0}, {}),
        ({"noise.reject_outliers": True}, {}),
        ({"self_supervision.method": "masked"}, {}),
        ({"ensemble.size": 2}, {}),
        ({"output.stretch": "asinh"}, {}),
        ({"compute.precision": "float32"}, {}),
    ],
    ids=lambda case: " ".join(case) or None,
)
def test_all_that_is_known_of_the_data_is_used(recipe, make_observation, changes, options):
    noise = NOISE * np.where(X < 90, 0.5, 1.5) if "sigma" in options else NOISE
    data = SCENE + noise
    observation = make_observation(data, **options)
    found = restore(observation, recipe.with_settings(changes))
    assert np.isfinite(found.image).all()
    mask = options.get("mask", np.zeros(SCENE.shape, bool))
    assert rms((found.image - SCENE)[~mask]) < 0.75 * SIGMA
    if "noise.reject_outliers" not in changes:
        np.testing.assert_array_equal(found.inpainted, mask)
    assert (found.uncertainty is None) == ("ensemble.size" not in changes)


def test_counts_of_photons(recipe, make_observation):
    expected = SCENE / 20
    data = np.random.default_rng(2).poisson(expected)
    counting = {"noise.kind": "poisson", "noise.gain": 1.0}
    found = restore(make_observation(data), recipe.with_settings(counting))
    assert rms(found.image - expected) < 0.45 * rms(data - expected)
    assert "recorrupted" in found.provenance.self_supervision


def test_colors(recipe, make_observation):
    scene = np.stack([SCENE, SCENE[::-1], 0.5 * SCENE], axis=-1)
    data = scene + np.random.default_rng(3).normal(0, SIGMA, scene.shape)
    found = restore(make_observation(data, "YXC"), recipe)
    assert found.image.shape == scene.shape
    assert rms(found.image - scene) < 0.65 * SIGMA


def test_observed_pixels_can_be_kept(recipe, make_observation):
    mask = np.random.default_rng(1).random(SCENE.shape) < 0.2
    data = SCENE.astype(np.float32)
    changes = {"hard_data_consistency": True, "noise.sigma": 1.0}
    found = restore(make_observation(data, mask=mask), recipe.with_settings(changes))
    np.testing.assert_array_equal(found.image[~mask], data[~mask])
    assert rms((found.image - SCENE)[mask]) < SIGMA


class TestWarmStart:
    def test_frames_of_one_field_have_networks_of_their_own(self, recipe, make_observation):
        movie = np.stack([SCENE + NOISE, SCENE + OTHER_NOISE])
        found = restore(make_observation(movie, "TYX"), recipe)
        assert [len(history.loss) for history in found.history] == [120, 120]
        assert "frames of one field, each with a new network" in found.summary

    @pytest.mark.parametrize("scene", [SCENE, OTHER_SCENE], ids=["same field", "other field"])
    def test_the_next_frame_is_faster_and_has_no_noise_of_the_last(
        self, recipe, make_observation, scene
    ):
        movie = np.stack([SCENE + NOISE, scene + OTHER_NOISE])
        choice = "always" if scene is SCENE else "auto"
        found = restore(make_observation(movie, "TYX"), recipe.replace(solver={"warm_start": choice}))
        assert [len(history.loss) for history in found.history] == [120, 30]
        assert "begun with the network of the frame before" in found.summary
        error = found.image[1] - scene
        assert rms(error) < 0.45 * SIGMA
        assert abs(np.mean(error * NOISE) / np.mean(NOISE**2)) < 0.03

    def test_it_can_be_switched_off(self, recipe, make_observation):
        movie = np.stack([SCENE + NOISE, OTHER_SCENE + OTHER_NOISE])
        cold = recipe.replace(solver={"warm_start": "never"})
        found = restore(make_observation(movie, "TYX"), cold)
        assert [len(history.loss) for history in found.history] == [120, 120]
        assert "network of the frame before" not in found.summary

    def test_recipes_with_a_switch_are_read(self):
        for switch, choice in ((True, "auto"), (False, "never")):
            recipe = Recipe.parse({"solver": {"warm_start": switch}}, source="old")
            assert recipe.solver.warm_start == choice

    def test_a_network_that_fails_on_the_next_frame_is_replaced(
        self, recipe, make_observation, monkeypatch
    ):
        checks = iter([False, True, False])
        monkeypatch.setattr(amortized, "is_noisy", lambda _: next(checks))
        movie = np.stack([SCENE + NOISE, OTHER_SCENE + OTHER_NOISE])
        found = restore(make_observation(movie, "TYX"), recipe)
        assert [len(history.loss) for history in found.history] == [120, 120]

    def test_files_of_a_batch_begin_with_the_last_network(self, recipe, tmp_path):
        names = "first.tif", "second.tif", "third.tif"
        for name, frame in zip(names, (SCENE, OTHER_SCENE, OTHER_SCENE), strict=True):
            noise = np.random.default_rng(len(name)).normal(0, SIGMA, SCENE.shape)
            tifffile.imwrite(tmp_path / name, (frame + noise).astype(np.float32))
        jobs = plan_jobs(recipe, [str(tmp_path / name) for name in names], tmp_path / "out")
        rows = [run_job(job) for job in jobs]
        assert [row.steps for row in rows] == [120, 30, 120]
        notes = [read_provenance(job.target)["notes"] for job in jobs]
        assert "begun with the network" not in notes[0]
        assert "begun with the network of first.tif" in notes[1]
        assert "frames of one field, each with a new network" in notes[2]


@contextmanager
def this_thread():
    """A worker that does what it is given at once."""

    class Now(Executor):
        def submit(self, function, /, *arguments):
            future = Future()
            arguments, function = pickle.loads(pickle.dumps((arguments, function)))
            future.set_result(function(*arguments))
            return future

    yield Now()


class TestWorkers:
    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch):
        monkeypatch.setattr(planner, "APPLICATION_TILE_PX", 128)

    def test_make_the_same_image(self, recipe, make_observation, result):
        found = restore(make_observation(SCENE + NOISE), recipe, workers=this_thread)
        np.testing.assert_array_equal(found.image, result.image)
        np.testing.assert_array_equal(found.residual, result.residual)
        np.testing.assert_array_equal(found.noise_std, result.noise_std)
        assert found.provenance.assessment == result.provenance.assessment

    def test_of_a_cluster_make_the_same_image(self, recipe, make_observation, monkeypatch):
        distributed = pytest.importorskip("distributed")
        monkeypatch.setattr(amortized, "is_noisy", lambda _: False)  # after few steps
        data = SCENE + NOISE
        data[:, 120:] = 7  # tiles without noise stay as they are
        observation, changes = make_observation(data), {"ensemble.size": 2, "solver.max_steps": 20}
        short = recipe.with_settings(changes)
        alone = restore(observation, short)
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.LocalCluster(**options) as cluster:
            workers = partial(dask_workers, cluster.scheduler_address)
            with iter_restore(observation, short, workers=workers) as run:
                killed = False
                for progress in run:
                    if progress.tiles > 1 and not killed:
                        cluster.workers[0].process.process._process.kill()
                        killed = True
                found = run.result
        assert killed
        np.testing.assert_array_equal(found.image, alone.image)
        np.testing.assert_array_equal(found.uncertainty, alone.uncertainty)

    @pytest.mark.parametrize("when", ["given a tile", "at work"])
    def test_that_die_are_replaced(self, recipe, make_observation, result, when):
        deaths = []

        @contextmanager
        def mortal():
            with this_thread() as executor:
                alive = executor.submit

                def submit(*arguments):
                    if len(deaths) < 2:
                        deaths.append(arguments)
                        if when == "given a tile":
                            raise BrokenExecutor
                        future = Future()
                        future.set_exception(BrokenExecutor())
                        return future
                    return alive(*arguments)

                executor.submit = submit
                yield executor

        found = restore(make_observation(SCENE + NOISE), recipe, workers=mortal)
        assert len(deaths) == 2
        np.testing.assert_array_equal(found.image, result.image)

    def test_that_die_always_are_told(self, recipe, make_observation):
        @contextmanager
        def dead():
            class Broken(Executor):
                def submit(self, *arguments):
                    raise BrokenExecutor

            yield Broken()

        with pytest.raises(DeviceError, match="died 3 times: is their memory full"):
            restore(make_observation(SCENE + NOISE), recipe, workers=dead)

    def test_can_be_stopped(self, recipe, make_observation, result):
        with iter_restore(make_observation(SCENE + NOISE), recipe, workers=this_thread) as run:
            for progress in run:
                if progress.tile > 0:
                    run.stop()
            found = run.result
        assert "stopped before" in found.stop_reason
        known = np.isfinite(found.image)
        assert known.any()
        assert not known.all()

    def test_have_nothing_to_do_for_small_images(self, fast_recipe, make_observation):
        found = restore(make_observation((SCENE + NOISE)[:64, :64]), fast_recipe, workers=this_thread)
        assert "no worker was used" in found.summary


def test_a_stop_keeps_the_network_so_far(recipe, make_observation):
    with iter_restore(make_observation(SCENE + NOISE), recipe) as run:
        next(run)
        run.stop()
        found = run.result
    assert "stopped by hand" in found.history[0].stop_reason
    assert len(found.history[0].loss) < 120
    assert np.isfinite(found.image).all()


@pytest.mark.parametrize("fault", ["noisy", "diverges", "structured"])
def test_a_fit_that_fails_its_check_gives_way(fast_settings, make_observation, monkeypatch, fault):
    if fault == "noisy":
        monkeypatch.setattr(amortized, "is_noisy", lambda _: True)
    elif fault == "structured":
        monkeypatch.setattr(SelfSupervision, "select_method", lambda *_: "none")
    else:
        monkeypatch.setattr("napari_dip.fitting.amortized.LEARNING_RATE", 1e30)
    monkeypatch.setattr(planner, "MIN_AMORTIZED_PX", 1000)
    plain = Recipe.preset("denoise").with_settings(fast_settings)
    found = restore(make_observation(SCENE + NOISE), plain)
    assert "not with one network for the whole image, because" in found.summary
    assert "as planned" not in found.summary
    assert np.isfinite(found.image).all()


def test_a_sample_of_a_huge_image_consists_of_regions(make_data, recipe, monkeypatch):
    monkeypatch.setattr(amortized, "MAX_SAMPLE_PX", 16_000)
    monkeypatch.setattr(amortized, "REGION_PX", 64)
    sample, height = amortized._sample(make_data(SCENE + NOISE), seed=0)
    assert height == 64
    assert sample.y.shape[-1] == 64
    assert sample.y.shape[-2] % 64 == 0
    assert 2 * 64 <= sample.y.shape[-2] <= 4 * 64
    values = set((SCENE + NOISE).astype(np.float32).ravel().tolist())
    assert values.issuperset(sample.y.ravel().tolist())


class TestChoice:
    @pytest.mark.parametrize(
        ("changes", "side", "expected"),
        [
            ({}, 900, True),
            ({}, 800, False),
            ({"solver.method": "amortized"}, 200, True),
            ({"solver.method": "whole"}, 900, False),
            ({"solver.method": "tiled"}, 900, False),
            ({"compute.tile_size": 256}, 900, False),
            ({"self_supervision.method": "none"}, 900, False),
            ({"regularization.total_variation": 0.1}, 900, False),
            ({"operator.kind": "blur", "operator.fwhm": 3}, 900, False),
        ],
    )
    def test_depends_on_size_and_recipe(self, make_data, changes, side, expected):
        data = make_data(np.random.default_rng(0).normal(0, 1, (side, side)))
        recipe = Recipe.preset("denoise").with_settings({"solver.method": "auto", **changes})
        plan = planner.plan_tiles(recipe, data, CPU)
        assert plan.is_amortized == expected
        if changes.get("solver.method") == "whole":
            assert len(plan.tiles) == 1
        if changes.get("solver.method") == "tiled":
            assert len(plan.tiles) > 1

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"operator.kind": "blur", "operator.fwhm": 3}, "the operator is not the identity"),
            ({"regularization.total_variation": 0.1}, "there are regularizers"),
            ({"self_supervision.method": "none"}, "self-supervision is switched off"),
        ],
    )
    def test_of_what_cannot_be_is_refused(self, recipe, make_observation, changes, reason):
        with pytest.raises(SettingsError, match=reason) as error:
            restore(make_observation(SCENE + NOISE), recipe.with_settings(changes))
        assert error.value.setting == "solver.method"

    def test_of_a_small_image_is_refused(self, recipe, make_observation):
        with pytest.raises(SettingsError, match="smaller than 128 pixels"):
            restore(make_observation((SCENE + NOISE)[:100]), recipe)

    def test_is_forecast(self, recipe, make_observation):
        observation = make_observation(SCENE + NOISE)
        estimate = RunEstimator().estimate(recipe, observation)
        assert estimate.steps == 120
        assert estimate.tiles.startswith("one network for the whole image")
        assert 0 < estimate.seconds < float("inf")
        more = RunEstimator().estimate(recipe, observation, times=9)
        assert more.seconds > estimate.seconds

    def test_is_forecast_with_its_refinement(self, recipe, make_observation):
        observation = make_observation(SCENE + NOISE)
        short = recipe.with_settings({"solver.max_steps": 1})
        refined = RunEstimator().estimate(short, observation)
        plain = RunEstimator().estimate(
            short.with_settings({"refinement.patch_method": "none"}), observation
        )
        assert refined.seconds > 2 * plain.seconds  # eight times

    def test_by_the_function_for_arrays(self):
        large = np.tile(SCENE + NOISE, (5, 5))[:900, :900]
        estimate = RunEstimator().estimate(
            Recipe.preset("denoise"), dip.Observation.from_array(large, axes="YX")
        )
        assert estimate.tiles.startswith("one network")
