from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_dip import read, restore, write
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.fitting.stopping.fixed import FixedSteps
from napari_dip.fitting.stopping.hold_out import HoldOut
from napari_dip.physics.filters import gaussian_blur
from napari_dip.refine.calibration import SPREAD_SIGMA_PX, HeldOutError
from napari_dip.refine.ensemble import VALIDATION_SIGMA_PX, Ensemble, EnsembleStatistics
from napari_dip.run.restoration import iter_restoration

SIDE = 128


@pytest.fixture(scope="module")
def truth():
    """(128, 128) float: smooth hills of some 30 around 100."""
    rng = np.random.default_rng(0)
    return (100 + 300 * gaussian_filter(rng.normal(size=(SIDE, SIDE)), 5)).astype(np.float32)


@pytest.fixture
def problem_of(make_observation, make_problem):
    """Make the problem of an array under noise of the same strength everywhere."""

    def problem_of(array, sigma):
        settings = {"noise.sigma": sigma, "noise.relative_error": 0}
        return make_problem(make_observation(array), settings)

    return problem_of


def smoothing(problem, rule, *, members, width, seed=0):
    """An ensemble whose fits only smooth what they are given; (members, their scenes)."""
    ensemble, scenes = EnsembleStatistics(problem), []
    for member in range(members):
        monitor = rule.monitor(problem, torch.Generator().manual_seed(seed + member))
        known = monitor.fit_problem.observed[0, 0].numpy().astype(float)
        flux = gaussian_filter(monitor.fit_problem.y[0, 0].numpy() * known, width)
        x = torch.from_numpy(flux / gaussian_filter(known, width))[None].float()
        ensemble.add(x, monitor)
        scenes.append(x)
    return ensemble, scenes


def test_the_result_is_the_mean_of_its_members(fast_recipe, noisy):
    recipe = fast_recipe.with_settings({"refinement.patch_method": "none"})
    result = restore(noisy, recipe.with_settings({"ensemble.size": 3, "seed": 7}))
    seeds = Ensemble(size=3).seeds(7)
    alone = [restore(noisy, recipe.with_settings({"seed": seed})) for seed in seeds]
    assert seeds[0] == 7
    np.testing.assert_allclose(result.image, np.mean([a.image for a in alone], axis=0), rtol=1e-5)
    assert [len(h.loss) for h in result.history] == [a.steps for a in alone]
    assert all(a.uncertainty is None for a in alone)
    assert result.uncertainty.shape == result.image.shape
    assert result.uncertainty.dtype == np.float32
    assert (result.uncertainty > 0).all()
    assert "uncertainty" in result.summary
    assert "uncertainty" not in alone[0].summary


def test_averaging_leaves_more_of_correlated_noise(problem_of, truth):
    problem = problem_of(truth, 5.0)
    white = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    properties = replace(problem.likelihood.properties, correlation_sigma=0.7)
    problem = replace(problem, likelihood=problem.likelihood.with_properties(properties))
    correlated = problem.likelihood.correlate(white)
    left, of_white = (gaussian_blur(n, VALIDATION_SIGMA_PX).var() for n in (correlated, white))
    remaining = HeldOutError(problem, VALIDATION_SIGMA_PX)._remaining_noise
    assert remaining == pytest.approx(float(left / of_white), rel=0.03)


def test_members_of_one_seed_are_no_members_of_the_next():
    seeds = [set(Ensemble(size=8).seeds(first)) for first in range(20)]
    assert all(len(some) == 8 for some in seeds)
    assert len(set().union(*seeds)) == 160
    assert Ensemble(size=3).seeds(5) == Ensemble(size=8).seeds(5)[:3]


def test_previews_are_the_mean_so_far_and_progress_counts_every_fit(fast_recipe, observation):
    settings = {"ensemble.size": 2, "refinement.patch_method": "none", "stopping.kind": "fixed"}
    run = iter_restoration(observation, fast_recipe.with_settings(settings), snapshot_every=20)
    reports = list(run)
    result = run.result
    first, last = (p for p in reports if p.step == 20 and p.image is not None)
    assert (first.member, last.member, last.members) == (0, 1, 2)
    assert first.fraction_done == 0.5
    assert last.fraction_done == 1
    done = [progress.fraction_done for progress in reports]
    assert done == sorted(done)
    # So the last preview is the result.
    assert [history.selected_step for history in result.history] == [20, 20]
    np.testing.assert_allclose(last.image, result.image, rtol=1e-5)
    assert not np.array_equal(first.image, last.image)


def test_stopping_keeps_the_mean_of_the_fits_so_far(fast_recipe, observation):
    run = iter_restoration(
        observation, fast_recipe.with_settings({"ensemble.size": 5}), snapshot_every=1
    )
    for progress in run:
        if progress.member == 1 and progress.step == 5:
            run.stop()
    result = run.result
    assert [len(history.loss) for history in result.history] == [20, 5]
    assert "stopped by hand" in result.stop_reason
    assert np.isfinite(result.uncertainty).all()


@pytest.mark.parametrize("width", [0.6, 1.5, 4])
@pytest.mark.parametrize(
    ("rule", "averaged"),
    [(DataFission(), True), (DataFission(), False), (HoldOut(validation_fraction=0.1), False)],
)
def test_the_error_of_the_mean_is_known_without_the_truth(problem_of, truth, rule, averaged, width):
    sigma, found, true = 20.0, [], []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, sigma, truth.shape).astype(np.float32)
        problem = problem_of(truth + noise, sigma)
        ensemble, scenes = smoothing(problem, rule, members=3, width=width, seed=3 * seed)
        held_out = ensemble.averaged if averaged else ensemble.plain
        used = held_out.used[0, 0]
        found.append(float(held_out.squared_error()[0, 0][used].mean()))
        error = (torch.stack(scenes).mean(dim=0)[0] - torch.from_numpy(truth)) / sigma
        if averaged:
            error = torch.from_numpy(gaussian_filter(error.numpy(), VALIDATION_SIGMA_PX, truncate=3))
        true.append(float((error[used] ** 2).mean()))
    deviation = np.std(np.subtract(found, true), ddof=1) / np.sqrt(len(found))
    assert deviation < 0.02
    if isinstance(rule, HoldOut):  # one of three members has not seen the pixel, and is meant
        assert np.mean(found) > np.mean(true) - 4 * deviation
    else:
        assert abs(np.mean(found) - np.mean(true)) < 4 * deviation


def test_the_calibrated_uncertainty_is_the_error(problem_of, truth):
    sigma = 20.0
    noise = np.random.default_rng(0).normal(0, sigma, truth.shape).astype(np.float32)
    problem = problem_of(truth + noise, sigma)
    ensemble, scenes = smoothing(problem, DataFission(), members=6, width=1.0)
    deviation, factor = ensemble.uncertainty()
    error = (torch.stack(scenes).mean(dim=0) - torch.from_numpy(truth)).abs()
    assert factor > 3  # the members have hardly any noise of their own
    assert 0.63 < float((error < deviation).float().mean()) < 0.73
    assert 0.92 < float((error < 1.96 * deviation).float().mean()) < 0.98


@pytest.mark.parametrize("rule", [DataFission(), HoldOut(validation_fraction=0.1)])
def test_the_spread_is_that_of_all_members_whichever_data_were_held_out(problem_of, truth, rule):
    noise = np.random.default_rng(0).normal(0, 20, truth.shape).astype(np.float32)
    ensemble, scenes = smoothing(problem_of(truth + noise, 20.0), rule, members=4, width=1.0)
    spread = gaussian_blur(torch.stack(scenes).div(20).var(dim=0, correction=0), SPREAD_SIGMA_PX)
    known = ensemble.plain.used
    found = float(ensemble.plain.predicted_variance()[known].mean())
    assert found == pytest.approx(float(spread[known[0]].mean()), rel=0.05)


def test_what_no_member_has_widens_the_uncertainty_everywhere(problem_of, truth):
    sigma = 20.0
    rng = np.random.default_rng(0)
    textured = truth + rng.normal(0, 8, truth.shape).astype(np.float32)
    noise = rng.normal(0, sigma, truth.shape).astype(np.float32)
    deviations = {}
    for name, scene in (("smooth", truth), ("textured", textured)):
        ensemble, scenes = smoothing(
            problem_of(scene + noise, sigma), DataFission(), members=6, width=2.5
        )
        deviations[name] = ensemble.uncertainty()[0]
    error = (torch.stack(scenes).mean(dim=0) - torch.from_numpy(textured)).abs()
    assert float(deviations["smooth"].mean()) < 5
    assert 0.63 < float((error < deviations["textured"]).float().mean()) < 0.73
    assert 0.92 < float((error < 1.96 * deviations["textured"]).float().mean()) < 0.98


def test_without_held_out_data_the_spread_is_not_calibrated(problem_of, truth):
    problem = problem_of(truth, 5.0)
    ensemble = EnsembleStatistics(problem)
    monitor = FixedSteps().monitor(problem, torch.Generator().manual_seed(0))
    for offset in (-3.0, 3.0):
        ensemble.add(torch.from_numpy(truth)[None] + offset, monitor)
    deviation, factor = ensemble.uncertainty()
    assert factor is None
    np.testing.assert_allclose(deviation.numpy(), 3, rtol=1e-3)


def test_observed_pixels_that_are_kept_are_as_uncertain_as_their_noise(fast_recipe, noisy):
    mask = np.random.default_rng(0).random(noisy.shape) < 0.5
    settings = {
        "hard_data_consistency": True,
        "ensemble.size": 2,
        "noise.sigma": 8.0,
        "noise.relative_error": 0,
    }
    result = restore(noisy, fast_recipe.with_settings(settings), mask=mask)
    np.testing.assert_allclose(result.image[~mask], noisy[~mask], rtol=1e-6)
    np.testing.assert_allclose(result.uncertainty[~mask], 8, rtol=1e-5)
    assert (result.uncertainty[mask] > 0).all()


@pytest.mark.parametrize("suffix", [".fits", ".tif"])
def test_the_uncertainty_is_written_and_read_again(fast_recipe, observation, tmp_path, suffix):
    result = restore(observation, fast_recipe.with_settings({"ensemble.size": 2}))
    path = tmp_path / f"restored{suffix}"
    write(path, result)
    again = read(path)
    np.testing.assert_array_equal(again.auxiliary["sigma"][0, 0, 0], result.uncertainty)
    np.testing.assert_array_equal(again.observed[0, 0, 0], ~result.inpainted)
