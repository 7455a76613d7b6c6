import numpy as np
import pytest
import torch

from napari_dip import restore
from napari_dip.fitting.solver import Fit, Solver
from napari_dip.fitting.stopping import EMA_WARMUP_STEPS, best_step
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.fitting.stopping.fixed import FixedSteps
from napari_dip.fitting.stopping.hold_out import HoldOut
from napari_dip.fitting.stopping.variance import VarianceStopping
from napari_dip.run.restoration import iter_restoration


@pytest.fixture
def problem(observation, make_problem):
    return make_problem(observation)


@pytest.fixture
def monitor(problem):
    rule = HoldOut(patience=100, relative_patience=0.5)
    return rule.monitor(problem, torch.Generator().manual_seed(0))


def valley(best, steps):
    return np.abs(np.arange(1, steps + 1) - best).astype(np.float32) + 1


@pytest.mark.parametrize(
    ("best", "steps", "stops"),
    [(120, 219, False), (120, 220, True), (400, 599, False), (400, 600, True)],
)
def test_it_stops_after_its_patience_and_says_where_the_best_was(monitor, best, steps, stops):
    reason = monitor.stop_reason(valley(best, steps))
    assert (reason is not None) == stops
    if stops:
        assert f"step {best}" in reason


@pytest.mark.parametrize(("rule", "steps"), [(DataFission(), 2300), (HoldOut(), 2700)])
def test_noise_that_is_split_needs_less_patience_than_held_out_pixels(problem, rule, steps):
    monitor = rule.monitor(problem, torch.Generator().manual_seed(0))
    assert monitor.stop_reason(valley(2000, steps - 1)) is None
    assert monitor.stop_reason(valley(2000, steps)) is not None


def test_no_step_is_the_best_before_the_average_has_warmed_up(monitor):
    assert best_step(valley(30, 20)) == 20
    assert best_step(valley(30, 300)) == EMA_WARMUP_STEPS
    assert monitor.stop_reason(valley(30, EMA_WARMUP_STEPS + 99)) is None
    assert f"step {EMA_WARMUP_STEPS}" in monitor.stop_reason(valley(30, EMA_WARMUP_STEPS + 100))


def test_the_score_is_the_error_of_pixels_that_were_never_fitted(monitor):
    x = torch.zeros(monitor.fit_problem.y.shape[1:])
    before = monitor.score(x, x)
    x[monitor.fit_problem.observed[0]] += 1000
    assert torch.equal(monitor.score(x, x), before)
    x[monitor.validation_mask[0]] += 10
    assert not torch.equal(monitor.score(x, x), before)


def test_data_fission_judges_by_the_part_that_is_not_fitted(problem):
    monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    assert torch.equal(monitor.fit_problem.observed, problem.observed)
    known = problem.observed
    fitted, data = monitor.fit_problem.y[known], problem.y[known]
    # What learned the noise of the fitted part looks no better than what learned nothing.
    learned, scene = (monitor.score(y, y) for y in (monitor.fit_problem.y[0], problem.y[0]))
    assert learned > scene
    assert 0.1 < float((fitted - data).std() / 8) < 0.4


def variances(problem, images, **settings):
    monitor = VarianceStopping(**settings).monitor(problem, torch.Generator().manual_seed(0))
    return np.array([float(monitor.score(x, x)) for x in images])


def images_of_noise(number, problem):
    shape = (number, *problem.operator.scene_shape)
    return 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_windowed_variance_is_the_variance_of_the_window(problem):
    images = images_of_noise(40, problem) + 100
    found = variances(problem, images, method="wmv", window_length=12)
    for last in (11, 20, 39):
        window = images[last - 11 : last + 1].numpy()
        # At some pixels, drawn at random.
        assert found[last] == pytest.approx(window.var(axis=0).mean(), rel=0.03)


def test_the_exponential_variance_forgets_and_converges_to_the_variance(problem):
    images = images_of_noise(900, problem)
    images[:100] *= 10
    found = variances(problem, images, method="emv", window_length=50)
    assert found[-300:].mean() == pytest.approx(25, rel=0.1)
    assert found[100] > 10 * found[-1]


@pytest.mark.parametrize("method", ["wmv", "emv"])
def test_the_variance_is_named_as_what_stopped_the_fit(problem, method):
    monitor = VarianceStopping(method=method).monitor(problem, torch.Generator().manual_seed(0))
    reason = monitor.stop_reason(valley(120, 5000))
    assert reason.startswith("the variance of the images was lowest at step 120")


@pytest.mark.parametrize(("method", "length"), [("wmv", 250), ("emv", 60)])
def test_the_variance_is_lowest_where_the_scene_is_learned_and_no_noise_yet(problem, method, length):
    generator = torch.Generator().manual_seed(0)
    scene, noise = torch.randn(2, *problem.operator.scene_shape, generator=generator)
    steps = torch.arange(1000.0)
    learned, taken = 1 - torch.exp(-steps / 60), 0.5 * torch.sigmoid((steps - 700) / 40)
    images = learned[:, None, None, None] * 50 * scene + taken[:, None, None, None] * 20 * noise
    found = variances(problem, images, method=method, window_length=length)
    assert 300 < found.argmin() < 750
    assert found[0] > found.min()


def test_residuals_as_small_as_the_noise_end_the_run(fast_recipe, observation, problem):
    monitor = FixedSteps(discrepancy_factor=1.0).monitor(problem, torch.Generator())
    for factor, ends in ((1.3, False), (0.8, True)):
        x = (problem.y + factor * problem.noise_std(problem.y[0]) * torch.sign(problem.y - 100))[0]
        monitor.score(x, x)
        assert (monitor.stop_reason(np.ones(10, np.float32)) is not None) == ends
    recipe = fast_recipe.with_settings({"solver.max_steps": 400, "stopping.discrepancy_factor": 1.5})
    result = restore(observation, recipe)
    expected = "the mean square residual fell to 1.5 times the variance of the noise"
    assert result.stop_reason == expected
    assert len(result.history[0].loss) < 400


def test_the_image_is_the_one_of_the_selected_step(fast_recipe, observation):
    recipe = fast_recipe.with_settings(
        {"solver.max_steps": 600, "stopping.patience": 40, "refinement.patch_method": "none"}
    )
    run = iter_restoration(observation, recipe, snapshot_every=1)
    images = {progress.step: progress.image for progress in run}
    (history,) = run.result.history
    selected = history.selected_step
    assert selected == np.argmin(history.validation_loss) + 1
    # The best of 210 to 260 steps is step 154 to 186, over two precisions, AVX2 and AVX-512.
    assert selected < len(history.loss)
    np.testing.assert_array_equal(run.result.image, images[selected])
    assert not np.array_equal(images[selected], images[selected + 1])


def test_a_fixed_number_of_steps_is_taken_to_its_end(fast_recipe, observation):
    recipe = fast_recipe.with_settings({"stopping.kind": "fixed"})
    result = restore(observation, recipe)
    assert result.history[0].selected_step == len(result.history[0].loss) == 20
    assert result.stop_reason == "all 20 steps were taken"
    assert FixedSteps().kind == "fixed"


class TestPixelsOfMuchNoise:
    """Half of an image has three times the noise of the rest, and is best at another step."""

    @pytest.fixture
    def problem(self, make_observation, make_problem):
        sigma = np.ones((48, 48), np.float32)
        sigma[:, 28:] = 3
        noise = np.random.default_rng(0).normal(0, 1, sigma.shape) * sigma
        observation = make_observation(100 + noise, sigma=sigma)
        return make_problem(observation, {"noise.relative_error": 0})

    def test_are_taken_from_a_step_of_their_own(self, problem):
        class Scripted:
            """Off by as many sigmas as the step is from the best one."""

            network, step = torch.nn.Linear(1, 1), 0

            def __call__(self, x):
                self.step += 1
                off = torch.full((1, 48, 48), abs(self.step - 150) / 20)
                off[..., 28:] = 3 * abs(self.step - 400) / 20
                return 100 + off + 0 * self.network.weight.sum(), problem

        monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
        run = Fit(Scripted(), monitor, Solver(ema_decay=0)).run()
        try:
            while True:
                next(run)
        except StopIteration as end:
            found = end.value
        assert abs(found.history.selected_step - 150) < 20
        assert len(found.history.loss) > 500
        quiet, noisy = found.x[0, :, :26], found.x[0, :, 29:]
        assert float((quiet - 100).abs().max()) < 1
        assert float((noisy - 100).abs().max()) < 3
        assert "stars and other bright pixels: step" in found.history.stop_reason

    @pytest.fixture
    def separate_pixels(self, make_observation, make_problem):
        """Give the pixels of a scene under noise of 5 that have a best step of their own."""

        def separate_pixels(scene):
            noise = np.random.default_rng(0).normal(0, 5, scene.shape)
            observation = make_observation(scene + noise, "YXC"[: scene.ndim])
            problem = make_problem(observation, {"noise.sigma": 5.0})
            return DataFission().monitor(problem, torch.Generator().manual_seed(0)).separate_pixels

        return separate_pixels

    def test_there_are_none_where_noise_and_light_are_even(self, separate_pixels):
        assert separate_pixels(np.full((48, 48), 100.0)) is None
        backgrounds = np.broadcast_to([100.0, 1000.0], (48, 48, 2))
        assert separate_pixels(backgrounds) is None

    def test_they_are_a_minority(self, separate_pixels):
        ramp = 100 + 10.0 * np.indices((48, 48))[1]
        assert separate_pixels(ramp) is None

    def test_what_is_far_above_the_background_is_one_of_them(self, separate_pixels):
        scene = np.full((48, 48), 100.0)
        scene[20:24, 30:34] = 200
        mask = separate_pixels(scene).mask.numpy()[0]
        assert mask[20:24, 30:34].all()
        assert not mask[:17].any()
