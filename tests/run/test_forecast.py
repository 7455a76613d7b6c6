import re
from dataclasses import replace

import numpy as np
import pytest

from napari_dip import Recipe, restore
from napari_dip.core.errors import SettingsError
from napari_dip.core.progress import Progress
from napari_dip.run.forecast import RunEstimator, remaining_seconds, typical_steps


@pytest.fixture
def recipe(fast_recipe):
    return fast_recipe.with_settings({"stopping.kind": "fixed", "solver.max_steps": 200})


@pytest.fixture
def observation(noisy, make_observation):
    return make_observation(np.tile(noisy, (2, 2)))


def test_the_noise_is_that_which_the_run_takes(recipe, observation):
    estimate = RunEstimator().estimate(recipe, observation)
    noise = restore(observation, recipe).provenance.noise
    assert estimate.source == noise.source
    assert estimate.sigma == pytest.approx(noise.sigma[0][0])


def test_the_steps_are_the_limit_where_nothing_stops_before(recipe):
    assert typical_steps(recipe) == 200
    automatic = Recipe.preset("denoise")
    assert typical_steps(automatic) < automatic.solver.max_steps
    hasty = automatic.with_settings({"stopping.patience": automatic.stopping.patience // 2})
    assert typical_steps(hasty) == pytest.approx(typical_steps(automatic) / 2, abs=10)


def test_more_takes_longer(recipe, observation):
    estimator = RunEstimator()
    once = estimator.estimate(recipe, observation)
    assert 0 < once.seconds < 600
    several = estimator.estimate(recipe, observation, times=4)
    cold_start = recipe.with_settings({"solver.warm_start": False})
    cold = estimator.estimate(cold_start, observation, times=4)
    assert once.seconds < several.seconds < cold.seconds
    average = estimator.estimate(recipe.with_settings({"ensemble.size": 3}), observation)
    assert average.seconds == pytest.approx(3 * once.seconds)


def test_small_tiles_need_less_memory_and_are_announced(recipe, noisy, make_observation):
    observation = make_observation(np.tile(noisy, (8, 8)))
    whole = RunEstimator().estimate(recipe, observation)
    assert whole.tiles == ""
    tiled = RunEstimator().estimate(recipe.with_settings({"compute.tile_size": 128}), observation)
    assert re.fullmatch(r"in \d+ tiles of 128 x 128 pixels", tiled.tiles)
    assert tiled.memory_bytes < whole.memory_bytes


def test_the_time_is_unknown_where_no_part_shows_that_of_the_whole(recipe, observation):
    class NonLocal(type(recipe.operator)):
        @property
        def supports_tiling(self):
            return False

    non_local = recipe.model_copy(update={"operator": NonLocal()})
    assert np.isnan(RunEstimator().estimate(non_local, observation).seconds)


def test_what_is_missing_is_named_with_its_setting(recipe, observation):
    poisson = recipe.with_settings({"noise.kind": "poisson"})
    with pytest.raises(SettingsError, match="needs the gain") as error:
        RunEstimator().estimate(poisson, observation)
    assert error.value.setting == "noise.gain"


def test_the_time_left_is_that_of_the_typical_steps_at_the_pace_so_far():
    first = Progress(
        step=50, steps=3000, block=0, blocks=1, tile=0, tiles=1, member=0, members=1,
        loss=1.0, validation_loss=1.0, seconds=5.0,
    )  # fmt: skip
    assert remaining_seconds(first, 200) == pytest.approx(15)
    second = replace(first, member=1, members=4, seconds=25.0)
    assert remaining_seconds(second, 200) == pytest.approx(55)
    assert remaining_seconds(replace(first, step=260), 200) < 0


def test_fits_of_simulated_data_follow_the_ensemble_and_count_as_one_each():
    tiles, members = 3, 2
    first = Progress(
        step=20, steps=200, block=0, blocks=2, tile=0, tiles=tiles, member=0, members=members,
        loss=1.0, validation_loss=1.0, seconds=1.0, simulations=1,
    )  # fmt: skip
    places = [(tile, member) for tile in range(tiles) for member in range(members)]
    places += [(tile, members) for tile in range(tiles)]
    reports = [
        replace(first, block=block, tile=tile, member=member)
        for block in (0, 1)
        for tile, member in places
    ]
    assert [report.fits_done for report in reports] == list(range(18))
    assert {report.fits for report in reports} == {18}
    assert [report.fraction_done for report in reports] == pytest.approx((np.arange(18) + 0.1) / 18)
    assert [report.is_simulation for report in reports[4:9]] == [False, False, True, True, True]
    last = replace(reports[-1], seconds=17.1)
    assert remaining_seconds(last, 200) == pytest.approx(0.9)
