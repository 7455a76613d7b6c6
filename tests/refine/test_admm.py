"""Data consistency after the fit."""

import numpy as np
import pytest
import torch

from napari_dip import Observation, Recipe, Request, restore
from napari_dip.physics.problem import Problem
from napari_dip.run.restoration import iter_restoration


def problem_of(array, **changes):
    recipe = Recipe().with_settings({"noise.sigma": 2.0, **changes})
    frame = Observation.from_array(array, axes="YX")
    return Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_nearest_scene_weighs_data_and_network_and_leaves_holes_alone(noisy, penalty):
    array = noisy.copy()
    array[5:9, 7:20] = np.nan
    x = torch.full((1, *array.shape), 50.0)
    found = problem_of(array).prox(x, penalty)[0].numpy()
    expected = np.where(np.isnan(array), 50, (array + penalty * 50) / (1 + penalty))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def recipe(rounds):
    return Recipe.preset("deconvolve").with_settings(
        {
            "operator.fwhm": 2.5,
            "network.channels": 8,
            "network.depth": 2,
            "solver.max_steps": 60,
            "admm.max_iter": rounds,
            "admm.inner_steps": 10,
            "compute.device": "cpu",
        }
    )


def test_rounds_bring_the_scene_nearer_to_the_data(noisy):
    observation = Observation.from_array(noisy, axes="YX")
    without, after = (restore(observation, recipe(n)).provenance["noise"]["residual"][0] for n in (0, 3))
    assert after < without


def test_finish_ends_the_rounds(noisy):
    run = iter_restoration(Observation.from_array(noisy, axes="YX"), recipe(1000))
    iterates = [next(run)]
    with pytest.raises(StopIteration):
        while len(iterates) < 400:
            iterates.append(run.send(Request(stop=iterates[-1].step >= 60)))
