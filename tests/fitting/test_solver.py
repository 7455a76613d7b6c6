"""A fit: what it does when it diverges."""

import numpy as np
import pytest

from napari_dip.core.errors import RestorationError
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import Fit, Solver
from napari_dip.fitting.stopping.data_fission import DataFission


class DivergingPrior:
    """Returns a finite image at the first steps, and none after them."""

    def __init__(self, problem, finite_steps):
        self.network = torch.nn.Linear(1, 1)
        self.problem, self.left = problem, finite_steps

    def __call__(self, x):
        self.left -= 1
        image = self.problem.y[0] * (1 if self.left >= 0 else torch.nan)
        return image + 0 * self.network.weight.sum(), self.problem


@pytest.fixture
def problem(make_observation, make_problem):
    noise = np.random.default_rng(0).normal(100, 5, (32, 32))
    return make_problem(make_observation(noise), {"noise.sigma": 5.0})


def fit(problem, finite_steps):
    monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    run = Fit(DivergingPrior(problem, finite_steps), monitor, Solver()).run()
    try:
        while True:
            next(run)
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("finite_steps", [0, 5, 30])
def test_a_fit_that_diverges_in_the_warm_up_is_an_error(problem, finite_steps):
    with pytest.raises(RestorationError, match="diverged"):
        fit(problem, finite_steps)


def test_of_a_fit_that_diverges_later_the_best_image_is_kept(problem):
    result = fit(problem, 150)
    assert 100 <= result.history.selected_step <= 150
    assert torch.isfinite(result.x).all()
    assert "diverged" in result.history.stop_reason
