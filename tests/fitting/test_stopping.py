import numpy as np
import pytest
import torch

from napari_dip import Observation, Recipe, restore
from napari_dip.fitting.solver import Fit, Solver
from napari_dip.fitting.stopping import EMA_WARMUP_STEPS, best_step
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.fitting.stopping.fixed import FixedSteps
from napari_dip.fitting.stopping.hold_out import HoldOut
from napari_dip.fitting.stopping.variance import VarianceStopping
from napari_dip.physics.problem import Problem
from napari_dip.run.restoration import iter_restoration


@pytest.fixture
def watch(observation):
    recipe = Recipe()
    problem = Problem.from_data(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))
    return HoldOut(patience=100, relative_patience=0.5).monitor(
        problem, torch.Generator().manual_seed(0)
    )


def valley(best, steps):
    return np.abs(np.arange(1, steps + 1) - best).astype(np.float32) + 1


@pytest.mark.parametrize(
    ("best", "steps", "stops"),
    [(120, 219, False), (120, 220, True), (400, 599, False), (400, 600, True)],
)
def test_it_stops_after_its_patience_and_says_where_the_best_was(watch, best, steps, stops):
    reason = watch.stop_reason(valley(best, steps))
    assert (reason is not None) == stops
    if stops:
        assert f"step {best}" in reason


def test_no_step_is_the_best_before_the_average_has_settled(watch):
    assert best_step(valley(30, 20)) == 20
    assert best_step(valley(30, 300)) == EMA_WARMUP_STEPS
    assert watch.stop_reason(valley(30, EMA_WARMUP_STEPS + 99)) is None
    assert f"step {EMA_WARMUP_STEPS}" in watch.stop_reason(valley(30, EMA_WARMUP_STEPS + 100))


def test_the_statistic_is_the_error_of_pixels_that_were_never_fitted(watch):
    x = torch.zeros(watch.fitted.y.shape)
    before = watch.statistic(x, x)
    x[watch.fitted.observed] += 1000
    assert torch.equal(watch.statistic(x, x), before)


def test_fission_judges_by_the_half_that_is_not_fitted(observation):
    recipe = Recipe()
    problem = Problem.from_data(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))
    watch = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    assert torch.equal(watch.fit_problem.observed, problem.observed)
    known = problem.observed
    fitted, data = watch.fit_problem.y[known], problem.y[known]
    # What learnt the noise of the fitted half looks no better than what learnt nothing.
    learnt, scene = (watch.score(y, y) for y in (watch.fit_problem.y[0], problem.y[0]))
    assert learnt > scene
    assert 0.1 < float((fitted - data).std() / 8) < 0.4


def variances(problem, images, **told):
    watch = VarianceStopping(**told).monitor(problem, torch.Generator().manual_seed(0))
    return np.array([float(watch.score(x, x)) for x in images])


def pictures_of_noise(number, problem):
    shape = (number, *problem.operator.scene_shape)
    return 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def problem(observation):
    recipe = Recipe()
    return Problem.from_data(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))


def test_the_windowed_variance_is_the_variance_of_the_window(problem):
    images = pictures_of_noise(40, problem) + 100
    found = variances(problem, images, weights="equal", window=12)
    for last in (11, 20, 39):
        window = images[last - 11 : last + 1].numpy()
        # At some pixels, drawn at random.
        assert found[last] == pytest.approx(window.var(axis=0).mean(), rel=0.03)


def test_the_fading_variance_forgets_and_settles_at_the_variance(problem):
    images = pictures_of_noise(900, problem)
    images[:100] *= 10
    found = variances(problem, images, window=50)
    assert found[-300:].mean() == pytest.approx(25, rel=0.1)
    assert found[100] > 10 * found[-1]


@pytest.mark.parametrize(("weights", "window"), [("equal", 250), ("exponential", 60)])
def test_the_variance_is_least_where_the_scene_is_learnt_and_no_noise_yet(problem, weights, window):
    generator = torch.Generator().manual_seed(0)
    scene, noise = torch.randn(2, *problem.operator.scene_shape, generator=generator)
    steps = torch.arange(1000.0)
    learnt, taken = 1 - torch.exp(-steps / 60), 0.5 * torch.sigmoid((steps - 700) / 40)
    images = learnt[:, None, None, None] * 50 * scene + taken[:, None, None, None] * 20 * noise
    found = variances(problem, images, weights=weights, window=window)
    assert 300 < found.argmin() < 750
    assert found[0] > found.min()


def test_residuals_as_small_as_the_noise_end_the_run(quick, observation, problem):
    watch = FixedSteps(discrepancy_factor=1.0).monitor(problem, torch.Generator())
    for factor, ends in ((1.3, False), (0.8, True)):
        x = (problem.y + factor * problem.noise(problem.y[0]) * torch.sign(problem.y - 100))[0]
        watch.score(x, x)
        assert (watch.stop_reason(np.ones(10, np.float32)) is not None) == ends
    recipe = quick.with_settings({"solver.max_steps": 400, "stopping.discrepancy_factor": 1.5})
    result = restore(observation, recipe)
    assert result.stop_reason == "the residuals were as small as 1.5 times the noise's variance"
    assert len(result.history[0].loss) < 400


def test_the_image_is_the_one_of_the_chosen_step(quick, observation):
    recipe = quick.with_settings(
        {"solver.max_steps": 300, "stopping.patience": 40, "refinement.patch_method": "none"}
    )
    images = {}
    run = iter_restoration(observation, recipe, snapshot_every=1)
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
    recipe = quick.with_settings({"stopping.kind": "fixed"})
    result = restore(observation, recipe)
    assert result.history[0].selected_step == len(result.history[0].loss) == 20
    assert result.stop_reason == "all 20 steps were taken"
    assert FixedSteps().kind == "fixed"


class TestPixelsOfMuchNoise:
    """Half of an image has three times the noise of the rest, and is best at another step."""

    @pytest.fixture
    def problem(self):
        sigma = np.ones((48, 48), np.float32)
        sigma[:, 28:] = 3
        noise = np.random.default_rng(0).normal(0, 1, sigma.shape) * sigma
        frame = Observation.from_array(100 + noise, axes="YX").with_auxiliary("sigma", sigma)
        recipe = Recipe().with_settings({"noise.relative_error": 0})
        return Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))

    def test_are_taken_from_a_step_of_their_own(self, problem):
        class Scripted:
            """Off by as many sigmas as the step is from the best one."""

            network, step = torch.nn.Linear(1, 1), 0

            def __call__(self, x):
                self.step += 1
                off = torch.full((1, 48, 48), abs(self.step - 150) / 20)
                off[..., 28:] = 3 * abs(self.step - 400) / 20
                return 100 + off + 0 * self.network.weight.sum(), problem

        watch = DataFission().monitor(problem, torch.Generator().manual_seed(0))
        run = Fit(Scripted(), watch, Solver(ema_decay=0)).run()
        try:
            while True:
                next(run)
        except StopIteration as end:
            found = end.value
        assert abs(found.chosen - 150) < 20
        assert len(found.loss) > 500
        quiet, noisy = found.x[0, :, :26], found.x[0, :, 29:]
        assert float((quiet - 100).abs().max()) < 1
        assert float((noisy - 100).abs().max()) < 3
        assert "stars and the like are from step" in found.reason

    @staticmethod
    def watched(scene):
        rng = np.random.default_rng(0)
        frame = Observation.from_array(scene + rng.normal(0, 5, scene.shape), axes="YXC"[: scene.ndim])
        recipe = Recipe().with_settings({"noise.sigma": 5.0})
        problem = Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))
        return DataFission().monitor(problem, torch.Generator().manual_seed(0))

    def test_there_are_none_where_noise_and_light_are_even(self):
        assert self.watched(np.full((48, 48), 100.0)).separate_pixels is None
        backgrounds = np.broadcast_to([100.0, 1000.0], (48, 48, 2))
        assert self.watched(backgrounds).separate_pixels is None

    def test_what_most_pixels_are_is_usual(self):
        ramp = 100 + 10.0 * np.indices((48, 48))[1]
        assert self.watched(ramp).separate_pixels is None

    def test_what_is_far_above_the_background_is_one_of_them(self):
        scene = np.full((48, 48), 100.0)
        scene[20:24, 30:34] = 200
        found = self.watched(scene).separate_pixels.mask.numpy()[0]
        assert found[20:24, 30:34].all()
        assert not found[:17].any()
