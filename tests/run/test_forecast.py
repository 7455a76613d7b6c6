import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from napari_dip import Observation, Recipe, drain, restore
from napari_dip.core.errors import SettingsError
from napari_dip.core.progress import Iterate
from napari_dip.run.forecast import Pace, seconds_left, usual_steps


@pytest.fixture
def recipe(quick):
    return quick.override({"stopping.kind": "fixed", "solver.max_steps": 200})


@pytest.fixture
def frame(noisy):
    return Observation.from_array(np.tile(noisy, (2, 2)), axes="YX")


def test_the_noise_is_that_which_the_run_takes(recipe, frame):
    told = Pace().outlook(recipe, frame)
    noise = drain(restore(recipe, frame)).provenance["noise"]
    assert told.origin == noise["origin"]
    assert told.sigma == pytest.approx(noise["sigma"][0][0])


def test_the_steps_are_the_limit_where_nothing_stops_before(recipe):
    assert usual_steps(recipe) == 200
    automatic = Recipe.preset("denoise")
    assert usual_steps(automatic) < automatic.solver.max_steps
    hasty = automatic.override({"stopping.patience": automatic.stopping.patience // 2})
    assert usual_steps(hasty) == pytest.approx(usual_steps(automatic) / 2, abs=10)


def test_more_takes_longer(recipe, frame):
    pace = Pace()
    once = pace.outlook(recipe, frame)
    assert 0 < once.seconds < 600
    several = pace.outlook(recipe, frame, times=4)
    cold = pace.outlook(recipe.override({"solver.warm_start": False}), frame, times=4)
    assert once.seconds < several.seconds < cold.seconds
    average = pace.outlook(recipe.override({"ensemble.members": 3}), frame)
    assert average.seconds == pytest.approx(3 * once.seconds)


def test_a_small_budget_means_crops(recipe, noisy):
    frame = Observation.from_array(np.tile(noisy, (8, 8)), axes="YX")
    assert Pace().outlook(recipe, frame).crops == ""
    told = Pace().outlook(recipe.override({"compute.crop": 128}), frame)
    assert "crops" in told.crops
    assert told.memory < Pace().outlook(recipe, frame).memory


def test_no_time_is_told_where_no_part_tells_that_of_the_whole(recipe, frame):
    class Far(type(recipe.operator)):
        local: ClassVar[bool] = False

    spread = recipe.model_copy(update={"operator": Far()})
    assert np.isnan(Pace().outlook(spread, frame).seconds)


def test_what_is_lacking_is_named_with_its_setting(recipe, frame):
    with pytest.raises(SettingsError, match="needs the gain") as error:
        Pace().outlook(recipe.override({"noise.kind": "poisson"}), frame)
    assert error.value.setting == "noise.gain"


def test_the_time_left_is_that_of_the_usual_steps_at_the_pace_so_far():
    first = Iterate(
        step=50, steps=3000, frame=0, frames=1, crop=0, crops=1, member=0, members=1,
        loss=1.0, statistic=1.0, seconds=5.0,
    )  # fmt: skip
    assert seconds_left(first, 200) == pytest.approx(15)
    second = dataclasses.replace(first, member=1, members=4, seconds=25.0)
    assert seconds_left(second, 200) == pytest.approx(55)
    assert seconds_left(dataclasses.replace(first, step=260), 200) < 0
