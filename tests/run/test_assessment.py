"""The judgment of a result: what its own data say about it, and what is tried when it fails."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip import Observation, Recipe, restore
from napari_dip.core.assessment import Assessment, Finding
from napari_dip.core.errors import DivergenceError, RestorationWarning
from napari_dip.core.provenance import Provenance
from napari_dip.core.result import History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import ALL_STEPS
from napari_dip.physics.problem import Problem
from napari_dip.run.assessment import FitMeasures, fit_findings, measure_fit, run_findings
from napari_dip.run.block_fit import BlockFit
from napari_dip.run.fallback import attempts

SIGMA = 8.0


@pytest.fixture
def problem(noisy, make_problem, make_observation):
    return make_problem(make_observation(noisy), {"noise.sigma": SIGMA, "noise.relative_error": 0})


@pytest.fixture
def large(make_problem, make_observation):
    """A scene, its noise, and their problem."""
    y, x = np.mgrid[:160, :160]
    scene = 100 + 20 * np.sin(x / 7) + 30.0 * (np.hypot(y - 20, x - 25) < 12)
    noise = np.random.default_rng(5).normal(0, SIGMA, scene.shape)
    settings = {"noise.sigma": SIGMA, "noise.relative_error": 0, "noise.trust_given": True}
    return scene, noise, make_problem(make_observation(scene + noise), settings)


def as_scene(image):
    return torch.from_numpy(image.astype(np.float32))[None]


def levels(findings):
    return [finding.level for finding in findings]


@pytest.mark.parametrize("share", [-0.6, -0.1, 0.0, 0.3])
def test_the_slope_shows_how_much_noise_is_left(large, share):
    scene, noise, problem = large
    measures = measure_fit(problem, as_scene(scene + share * noise))
    assert measures.noise_slope == pytest.approx(share / (1 - share), abs=0.04)
    assert measures.noise_ratio == pytest.approx(abs(share), abs=0.04)
    assert measures.residual == pytest.approx(1 - share, rel=0.02)


@pytest.mark.parametrize("share", [-0.6, -0.1, 0.3])
def test_a_pattern_does_not_hide_the_noise(large, make_problem, make_observation, share):
    scene, noise, _ = large
    y, x = np.mgrid[: len(scene), : len(scene)]
    scene = scene + 50 * ((y + x) % 2)
    settings = {"noise.sigma": SIGMA, "noise.relative_error": 0, "noise.trust_given": True}
    problem = make_problem(make_observation(scene + noise), settings)
    bias = 0.02 * (scene - scene.mean())  # whose product with the pattern is larger than the noise
    measures = measure_fit(problem, as_scene(scene - bias + share * noise))
    assert measures.noise_slope == pytest.approx(share / (1 - share), abs=0.04)


def test_the_truth_is_good(large):
    scene, _, problem = large
    measures = measure_fit(problem, as_scene(scene))
    assert measures.structure == pytest.approx(1, abs=0.2)
    assert not list(fit_findings(measures))


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        (lambda scene, noise: scene - 0.5 * noise, "failed", "upside down"),
        (lambda scene, noise: scene - 0.3 * noise, "check", "upside down"),
        (lambda scene, noise: scene - 1.2 * noise, "failed", "times as noisy as the data"),
        (lambda scene, noise: scene + 4 * SIGMA, "failed", "the residual is 4.1 times the noise"),
        (lambda scene, noise: scene + 1.5 * SIGMA, "check", "the residual is 1.8 times the noise"),
        (lambda scene, noise: scene + 0.8 * noise, "check", "only 0.2 times the noise"),
        (lambda scene, noise: gaussian_filter(scene, 6), "check", "structure that noise has not"),
        (lambda scene, noise: np.where(scene > 120, np.nan, scene), "failed", "not finite"),
    ],
)
def test_each_fault_is_found(large, change, level, reason):
    scene, noise, problem = large
    findings = list(fit_findings(measure_fit(problem, as_scene(change(scene, noise)))))
    assert any(finding.level == level and reason in finding.reason for finding in findings), findings


@pytest.mark.parametrize(("error", "is_seen"), [(0.003, False), (0.05, True)])
def test_bright_pixels_that_are_changed_beyond_the_noise_are_seen(
    make_problem, make_observation, error, is_seen
):
    y, x = np.mgrid[:96, :96]
    stars = 100 + 1e4 * np.exp(-((y - 40) ** 2 + (x - 50) ** 2) / 20)
    data = stars + np.random.default_rng(0).normal(0, SIGMA, stars.shape)
    image = as_scene(100 + (1 - error) * (stars - 100))
    given = make_problem(make_observation(data), {"noise.sigma": SIGMA})
    reasons = [finding.reason for finding in fit_findings(measure_fit(given, image))]
    assert any("bright pixels differ from the data by" in reason for reason in reasons) == is_seen
    measured = make_problem(make_observation(data))
    assert np.isnan(measure_fit(measured, image).bright_residual)


def test_of_correlated_noise_the_residual_has_no_structure(make_problem, make_observation):
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 20, (160, 160)), 0.8)
    problem = make_problem(make_observation(100 + noise))
    assert problem.likelihood.properties.kind == "correlated"
    measures = measure_fit(problem, torch.full((1, 160, 160), 100.0))
    assert measures.structure == pytest.approx(1, abs=0.35)


def test_a_result_that_agrees_by_construction_is_not_judged_by_its_residual(problem):
    measures = measure_fit(problem, problem.y[0], hard_data_consistency=True)
    assert not list(fit_findings(measures))


def test_the_gravest_reason_comes_first():
    findings = [Finding("check", "a"), Finding("failed", "b"), Finding("check", "a")]
    assessment = Assessment.from_findings(findings)
    assert assessment == Assessment("failed", ("b", "a"))
    assert str(assessment) == "failed: b; a"
    assert str(Assessment.from_findings([])) == "good"


def history(scores, reason):
    scores = np.asarray(scores, np.float32)
    return History(scores, scores, len(scores), reason)


@pytest.mark.parametrize(
    ("histories", "reason"),
    [
        ([history(np.linspace(2, 1, 200), f"{ALL_STEPS}200 steps were taken")], "still improving"),
        ([history([3, 2, 1], f"{ALL_STEPS}3 steps were taken")], "still improving"),
        ([history([1.0], "done"), history([], "not reached")], "1 of 2 parts were not restored"),
        ([history([1.0], "the fit diverged, and the best image before was kept")], "diverged"),
    ],
)
def test_fits_that_did_not_end_well_are_to_be_checked(observation, histories, reason):
    blank = np.full(observation.y.shape, np.nan)
    findings = list(run_findings(Recipe(), observation, histories, blank, blank))
    assert levels(findings) == ["check"]
    assert reason in findings[0].reason


def test_a_fit_that_used_all_steps_but_had_ended_is_good(observation):
    scores = 1 + np.exp(-np.arange(500) / 40)
    blank = np.full(observation.y.shape, np.nan)
    ended = [history(scores, f"{ALL_STEPS}500 steps were taken")]
    assert not list(run_findings(Recipe(), observation, ended, blank, blank))


def test_a_result_of_few_pixels_is_to_be_checked(noisy):
    missing = np.ones(noisy.shape, bool)
    missing[::8, ::8] = False
    observation = Observation.from_array(noisy, axes="YX", mask=missing)
    blank = np.full(observation.y.shape, np.nan)
    findings = list(run_findings(Recipe(), observation, [history([1.0], "done")], blank, blank))
    assert levels(findings) == ["check"]
    assert "only 42 values are observed" in findings[0].reason


@pytest.mark.parametrize(("bias", "expected"), [(0.0, []), (1.5, ["check"])])
def test_flux_that_changed_more_than_its_error_is_to_be_checked(observation, bias, expected):
    residual = bias + np.random.default_rng(0).normal(0, 8, observation.y.shape)
    noise_std = np.full(residual.shape, 8.0)
    done = [history([1.0], "done")]
    findings = list(run_findings(Recipe(), observation, done, residual, noise_std))
    assert levels(findings) == expected


@pytest.fixture
def stars():
    """(96, 96) float, around 100, with eight stars."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    image = 100 + rng.normal(0, 2, y.shape)
    for row, column in rng.uniform(8, 88, (8, 2)):
        image += 200 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    return image


def test_a_mask_of_detected_objects_is_to_be_checked(stars):
    observation = Observation.from_array(stars, axes="YX", mask=stars > 108)
    (finding,) = observation.findings
    assert "the mask covers 100 % of the pixels of bright objects" in finding.reason
    later = Observation.from_array(stars, axes="YX").with_mask(stars > 108)
    assert later.findings == observation.findings


def test_a_mask_of_a_bright_scratch_is_good(stars):
    y, x = np.mgrid[:96, :96]
    scratch = np.abs(x - 0.7 * y - 15 - 6 * np.sin(y / 15)) < 2
    image = np.where(scratch, 400, np.random.default_rng(0).normal(100, 2, y.shape))
    assert not Observation.from_array(image, axes="YX", mask=scratch).findings
    # Nor does it make a mask of stars look as if it left some.
    both = np.where(scratch, 400, stars)
    assert Observation.from_array(both, axes="YX", mask=scratch | (stars > 108)).findings


def test_a_mask_of_bad_pixels_is_good(stars):
    rays = np.random.default_rng(1).random(stars.shape) < 0.01
    stars[rays] = 5000
    assert not Observation.from_array(stars, axes="YX", mask=rays).findings
    stars[rays] = np.nan
    assert not Observation.from_array(stars, axes="YX").findings


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_a_sigma_that_is_too_large_does_not_turn_the_noise_upside_down(factor, scene):
    rng = np.random.default_rng(1)
    scene = np.tile(scene, (2, 2))
    noise = rng.normal(0, 20, scene.shape)
    settings = {"noise.sigma": 20 * factor, "solver.max_steps": 150}
    recipe = Recipe.preset("denoise").with_quality("fast").with_settings(settings)
    kept = restore(scene + noise, recipe)
    insisted = restore(scene + noise, recipe.with_settings({"noise.trust_given": True}))
    for result in (kept, insisted):
        error = result.image - scene
        assert (error * noise).sum() / (noise**2).sum() > -0.1
        assert error.std() < 0.5 * noise.std()
        assert result.assessment.level == "check"
    assert "but measured as" in str(kept.assessment)
    assert "the first fit failed its check" in str(insisted.assessment)


@pytest.fixture
def diverges_in(monkeypatch):
    """Fits diverge whose recipe is among the first so many attempts."""

    def set_up(number):
        begun = []
        original = Problem.loss

        def loss(problem, x):
            return original(problem, x) * (torch.nan if len(begun) <= number else 1.0)

        new_fit = BlockFit._new_fit
        monkeypatch.setattr(Problem, "loss", loss)
        monkeypatch.setattr(
            BlockFit, "_new_fit", lambda *args: begun.append(1) or new_fit(*args), raising=True
        )
        return begun

    return set_up


@pytest.mark.parametrize(
    ("number", "reason"),
    [(1, "fitted in float32"), (2, "with masked pixels"), (3, "with the plain prior")],
)
def test_a_fit_that_diverges_is_repeated_in_other_ways(
    fast_recipe, observation, diverges_in, number, reason
):
    begun = diverges_in(number)
    recipe = fast_recipe.with_settings({"compute.precision": "bfloat16"})
    result = restore(observation, recipe)
    assert len(begun) == number + 1
    assert np.isfinite(result.image).all()
    assert result.assessment.level != "good"
    assert reason in str(result.assessment)


@pytest.mark.parametrize(("precision", "fits"), [("bfloat16", 2), ("float32", 1)])
def test_a_fit_that_diverges_late_is_repeated_in_float32(
    fast_recipe, observation, monkeypatch, precision, fits
):
    begun = []
    original, new_fit = Problem.loss, BlockFit._new_fit

    def loss(problem, x):
        late = begun[-1].step > 110 and len(begun) == 1
        return original(problem, x) * (torch.nan if late else 1.0)

    monkeypatch.setattr(Problem, "loss", loss)
    monkeypatch.setattr(BlockFit, "_new_fit", lambda *args: begun.append(new_fit(*args)) or begun[-1])
    settings = {"solver.max_steps": 140, "compute.precision": precision}
    result = restore(observation, fast_recipe.with_settings(settings))
    assert len(begun) == fits
    assert np.isfinite(result.image).all()
    expected = "fitted in float32" if fits == 2 else "a fit diverged"
    assert expected in str(result.assessment)


def test_a_fit_that_always_diverges_is_refused(fast_recipe, observation, diverges_in):
    begun = diverges_in(100)
    with pytest.raises(DivergenceError):
        restore(observation, fast_recipe)
    assert len(begun) == len(list(attempts(fast_recipe, torch.device("cpu"))))


@pytest.mark.parametrize("kind", ["deep-decoder", "conv-decoder", "hourglass", "unet"])
def test_every_attempt_can_be_made(fast_recipe, observation, make_prior, kind):
    recipe = fast_recipe.with_settings({"network.kind": kind, "network.channels": 8})
    for attempt in attempts(recipe, torch.device("cpu")):
        prior = make_prior(observation, attempt.recipe)
        assert prior(None)[0].isfinite().all()


def test_the_second_fit_of_an_ensemble_begins_where_the_first_one_succeeded(
    fast_recipe, observation, diverges_in
):
    begun = diverges_in(1)
    restore(observation, fast_recipe.with_settings({"ensemble.size": 2, "compute.precision": "float32"}))
    assert len(begun) == 3


def test_the_summary_begins_with_the_assessment(fast_recipe, observation):
    result = restore(observation, fast_recipe)
    first, second = result.summary.split("\n")
    assert first == str(result.assessment)
    assert first.startswith(result.assessment.level)
    assert second.startswith("took step")
    assert result.metadata["summary"] == second


def test_files_of_before_say_that_they_were_not_assessed(fast_recipe, observation):
    values = restore(observation, fast_recipe).provenance.to_dict()
    assert Provenance.from_dict(values).to_dict() == values
    del values["assessment"]
    assert "before results were assessed" in str(Provenance.from_dict(values).assessment)


def test_measures_of_data_that_are_no_image_are_left_out():
    assert not list(fit_findings(FitMeasures(is_finite=True)))


def test_an_array_comes_with_a_warning_at_the_line_of_the_caller(noisy, tmp_path):
    with pytest.warns(RestorationWarning, match="^check: .*the noise is given as 2, but") as caught:
        dip.denoise(noisy, sigma=2, quality="fast")
    assert caught[0].filename == __file__
    path = tmp_path / "noisy.fits"
    fits.writeto(path, noisy.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RestorationWarning)
        assert dip.denoise(path, sigma=2, quality="fast").assessment.level == "check"
        dip.denoise(noisy, quality="fast")


def test_of_noise_with_structure_a_large_residual_is_no_failure():
    for is_known, level in ((True, "failed"), (False, "check")):
        measures = FitMeasures(is_finite=True, residual=5.0, is_noise_known=is_known)
        (finding,) = fit_findings(measures)
        assert finding.level == level


def test_the_flux_of_saturated_pixels_is_unknown(fast_recipe, scene, noisy, make_observation):
    limit = 120.0
    observation = make_observation(np.minimum(noisy, limit))
    settings = {"noise.censored": True, "noise.saturation": limit, "noise.sigma": 8.0}
    result = restore(observation, fast_recipe.with_settings(settings))
    np.testing.assert_array_equal(np.isnan(result.residual), noisy >= limit)
