import numpy as np
import pytest
import torch

from napari_dip import Recipe, drain, restore
from napari_dip.problem import Problem
from napari_dip.stopping import Fission, FixedSteps, HeldOut


@pytest.fixture
def watch(observation):
    recipe = Recipe()
    problem = Problem.of(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))
    return HeldOut(patience=100, relative_patience=0.5).watch(problem, torch.Generator().manual_seed(0))


def valley(best, steps):
    return np.abs(np.arange(1, steps + 1) - best).astype(np.float32) + 1


@pytest.mark.parametrize(
    ("best", "steps", "stops"),
    [(50, 149, False), (50, 150, True), (400, 599, False), (400, 600, True)],
)
def test_it_stops_after_its_patience_and_says_where_the_best_was(watch, best, steps, stops):
    reason = watch.reason_to_stop(valley(best, steps))
    assert (reason is not None) == stops
    if stops:
        assert f"step {best}" in reason


def test_the_statistic_is_the_error_of_pixels_that_were_never_fitted(watch):
    x = torch.zeros(watch.fitted.y.shape)
    before = watch.statistic(x)
    x[watch.fitted.observed] += 1000
    assert torch.equal(watch.statistic(x), before)


def test_fission_judges_by_the_half_that_is_not_fitted(observation):
    recipe = Recipe()
    problem = Problem.of(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))
    watch = Fission().watch(problem, torch.Generator().manual_seed(0))
    assert torch.equal(watch.fitted.observed, problem.observed)
    known = problem.observed
    fitted, data = watch.fitted.y[known], problem.y[known]
    # What learnt the noise of the fitted half looks no better than what learnt nothing.
    learnt = watch.statistic(torch.where(known, watch.fitted.y, 0)[0])
    scene = watch.statistic(torch.where(known, problem.y, 0)[0])
    assert learnt > scene
    assert 0.1 < float((fitted - data).std() / 8) < 0.4


def test_the_image_is_the_one_of_the_chosen_step(quick, observation):
    recipe = quick.override(
        {"solver.max_steps": 300, "stopping.patience": 40, "refinement.patches": "off"}
    )
    images = {}
    run = restore(recipe, observation, snapshot_every=1)
    while True:
        try:
            iterate = next(run)
        except StopIteration as end:
            result = end.value
            break
        images[iterate.step] = iterate.image
    (course,) = result.history
    assert course.chosen == np.argmin(course.statistic) + 1
    assert course.chosen < len(course.loss)
    np.testing.assert_array_equal(result.image, images[course.chosen])
    assert not np.array_equal(images[course.chosen], images[course.chosen + 1])


def test_a_fixed_number_of_steps_is_taken_to_its_end(quick, observation):
    recipe = quick.override({"stopping.kind": "fixed"})
    result = drain(restore(recipe, observation))
    assert result.history[0].chosen == len(result.history[0].loss) == 20
    assert result.reason == "all 20 steps were taken"
    assert FixedSteps().kind == "fixed"
