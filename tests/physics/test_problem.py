from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_dip.physics.splitting import hold_out


@pytest.fixture
def problem(observation, make_problem):
    return make_problem(observation, {"noise.sigma": 2.0})


def test_unobserved_pixels_do_not_change_the_loss(problem):
    x = torch.full(problem.operator.scene_shape, 90.0)
    y = torch.where(problem.observed, problem.y, 1e9)
    changed = replace(problem, y=y)
    assert torch.equal(problem.loss(x), changed.loss(x))


def test_unobserved_pixels_get_no_gradient(problem):
    x = torch.full(problem.operator.scene_shape, 90.0, requires_grad=True)
    problem.loss(x).backward()
    assert torch.equal(x.grad != 0, problem.observed[0])


def test_the_residual_is_y_minus_ax_where_observed(problem, observation):
    residual = problem.residual(torch.full(problem.operator.scene_shape, 90.0))
    assert torch.equal(torch.isnan(residual), ~problem.observed)
    expected = observation.y[:, :, 0] - np.float32(90)
    np.testing.assert_array_equal(residual.numpy(), np.where(problem.observed, expected, np.nan))


def test_each_observed_pixel_is_either_held_out_or_fitted(make_observation, make_problem):
    y = np.random.default_rng(0).normal(size=(2, 100, 100))
    y[0, :10] = np.nan
    problem = make_problem(make_observation(y, "CYX"), {"noise.sigma": 2.0})
    fitted, held_out = hold_out(problem, 0.05, torch.Generator().manual_seed(0))
    assert not (fitted.observed & held_out.observed).any()
    assert torch.equal(fitted.observed | held_out.observed, problem.observed)
    assert 0.04 < held_out.observed.sum() / problem.observed.sum() < 0.06


def test_of_few_pixels_a_larger_fraction_is_held_out(problem):
    fitted, held_out = hold_out(problem, 0.02, torch.Generator().manual_seed(0))
    known = int(problem.observed.sum())
    assert int(held_out.observed.sum()) == 200 < known // 10 + 1
    assert int(fitted.observed.sum()) == known - 200
