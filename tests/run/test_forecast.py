import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from napari_dip import Observation, Recipe, restore
from napari_dip.core.errors import SettingsError
from napari_dip.core.progress import Progress
from napari_dip.run.forecast import RunEstimator, remaining_seconds, typical_steps


@pytest.fixture
def recipe(quick):
    return quick.with_settings({"stopping.kind": "fixed", "solver.max_steps": 200})


@pytest.fixture
def frame(noisy):
    return Observation.from_array(np.tile(noisy, (2, 2)), axes="YX")


def test_the_noise_is_that_which_the_run_takes(recipe, frame):
    told = RunEstimator().estimate(recipe, frame)
    noise = restore(frame, recipe).provenance["noise"]
    assert told.source == noise["origin"]
    assert told.sigma == pytest.approx(noise["sigma"][0][0])


def test_the_steps_are_the_limit_where_nothing_stops_before(recipe):
    assert typical_steps(recipe) == 200
    automatic = Recipe.preset("denoise")
    assert typical_steps(automatic) < automatic.solver.max_steps
    hasty = automatic.with_settings({"stopping.patience": automatic.stopping.patience // 2})
    assert typical_steps(hasty) == pytest.approx(typical_steps(automatic) / 2, abs=10)


def test_more_takes_longer(recipe, frame):
    pace = RunEstimator()
    once = pace.estimate(recipe, frame)
    assert 0 < once.seconds < 600
    several = pace.estimate(recipe, frame, times=4)
    cold = pace.estimate(recipe.with_settings({"solver.warm_start": False}), frame, times=4)
    assert once.seconds < several.seconds < cold.seconds
    average = pace.estimate(recipe.with_settings({"ensemble.size": 3}), frame)
    assert average.seconds == pytest.approx(3 * once.seconds)


def test_a_small_budget_means_crops(recipe, noisy):
    frame = Observation.from_array(np.tile(noisy, (8, 8)), axes="YX")
    assert RunEstimator().estimate(recipe, frame).tiles == ""
    told = RunEstimator().estimate(recipe.with_settings({"compute.tile_size": 128}), frame)
    assert "crops" in told.tiles
    assert told.memory_bytes < RunEstimator().estimate(recipe, frame).memory_bytes


def test_no_time_is_told_where_no_part_tells_that_of_the_whole(recipe, frame):
    class Far(type(recipe.operator)):
        local: ClassVar[bool] = False

    spread = recipe.model_copy(update={"operator": Far()})
    assert np.isnan(RunEstimator().estimate(spread, frame).seconds)


def test_what_is_lacking_is_named_with_its_setting(recipe, frame):
    with pytest.raises(SettingsError, match="needs the gain") as error:
        RunEstimator().estimate(recipe.with_settings({"noise.kind": "poisson"}), frame)
    assert error.value.setting == "noise.gain"


def test_the_time_left_is_that_of_the_usual_steps_at_the_pace_so_far():
    first = Progress(
        step=50, steps=3000, block=0, blocks=1, tile=0, tiles=1, member=0, members=1,
        loss=1.0, validation_loss=1.0, seconds=5.0,
    )  # fmt: skip
    assert remaining_seconds(first, 200) == pytest.approx(15)
    second = dataclasses.replace(first, member=1, members=4, seconds=25.0)
    assert remaining_seconds(second, 200) == pytest.approx(55)
    assert remaining_seconds(dataclasses.replace(first, step=260), 200) < 0
