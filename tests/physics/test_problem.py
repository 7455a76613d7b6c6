from dataclasses import replace

import numpy as np
import torch

from napari_dip import Observation, Recipe
from napari_dip.physics.problem import Problem


def problem_of(observation):
    recipe = Recipe()
    return Problem.from_data(
        observation,
        recipe.operator,
        recipe.noise.model_copy(update={"sigma": 2.0}),
        device=torch.device("cpu"),
    )


def test_unobserved_pixels_do_not_change_the_loss(observation):
    problem = problem_of(observation)
    x = torch.full(problem.operator.scene_shape, 90.0)
    y = torch.where(problem.observed, problem.y, 1e9)
    changed = replace(problem, y=y)
    assert torch.equal(problem.loss(x), changed.loss(x))


def test_unobserved_pixels_get_no_gradient(observation):
    problem = problem_of(observation)
    x = torch.full(problem.operator.scene_shape, 90.0, requires_grad=True)
    problem.loss(x).backward()
    assert torch.equal(x.grad != 0, problem.observed[0])


def test_the_residual_is_y_minus_ax_where_observed(observation):
    problem = problem_of(observation)
    residual = problem.residual(torch.full(problem.operator.scene_shape, 90.0))
    assert torch.equal(torch.isnan(residual), ~problem.observed)
    expected = observation.y[:, :, 0] - np.float32(90)
    np.testing.assert_array_equal(residual.numpy(), np.where(problem.observed, expected, np.nan))


def test_held_out_and_fitted_pixels_share_out_the_observed_ones():
    y = np.random.default_rng(0).normal(size=(2, 100, 100))
    y[0, :10] = np.nan
    problem = problem_of(Observation.from_array(y, axes="CYX"))
    fitted, held_out = problem.hold_out(0.05, torch.Generator().manual_seed(0))
    assert not (fitted.observed & held_out.observed).any()
    assert torch.equal(fitted.observed | held_out.observed, problem.observed)
    assert 0.04 < held_out.observed.sum() / problem.observed.sum() < 0.06


def test_of_few_pixels_more_are_held_out(observation):
    problem = problem_of(observation)
    fitted, held_out = problem.hold_out(0.02, torch.Generator().manual_seed(0))
    known = int(problem.observed.sum())
    assert int(held_out.observed.sum()) == 200 < known // 10 + 1
    assert int(fitted.observed.sum()) == known - 200
