import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_dip import Observation, Recipe, restore
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.physics.problem import Problem
from napari_dip.refine import patches
from napari_dip.refine.residual_return import add_residual, add_source_flux
from napari_dip.refine.settings import Refinement
from napari_dip.refine.spectral_shrinkage import shrink_spectrum


def problem_of(array, *, holes=None, psf=None, axes="YX", **told):
    recipe = Recipe().with_settings({"noise.relative_error": 0, **told})
    observation = Observation.from_array(array, axes=axes, mask=holes)
    if psf is not None:
        observation = observation.with_auxiliary("psf", psf)
    return Problem.from_data(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))


def refined(pilot, problem, *, side=5, alike=20):
    x = torch.from_numpy(pilot).float()
    work = patches.nonlocal_bayes(
        x, *problem.scene_and_noise(x), problem.likelihood.width, side=side, alike=alike
    )
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value.numpy()


def error(x, truth):
    return np.sqrt(np.mean((x - truth) ** 2))


@pytest.fixture
def stripes():
    """(1, 48, 56) float: stripes that a smooth pilot has lost for a good part, and such a pilot."""
    y, x = np.mgrid[:48, :56]
    truth = 100 + 20 * np.sin(0.9 * x + 0.3 * y)
    return truth[None], gaussian_filter(truth, 1)[None]


def test_what_the_pilot_has_lost_comes_back_from_the_data(stripes):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    found = refined(pilot, problem_of(noisy, **{"noise.sigma": 8.0}))
    assert error(found, truth) < 0.5 * error(pilot, truth)
    assert error(found, truth) < 0.5 * error(noisy, truth)


@pytest.mark.parametrize("value", [0.0, 1e9])
def test_what_stands_in_a_hole_changes_nothing(stripes, value):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    holes = np.zeros(noisy.shape, bool)
    holes[20:24, 20:30] = True
    before = refined(pilot, problem_of(noisy, holes=holes, **{"noise.sigma": 8.0}))
    noisy[holes] = value
    after = refined(pilot, problem_of(noisy, holes=holes, **{"noise.sigma": 8.0}))
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before).all()


def test_strips_and_batches_leave_no_seam(stripes, monkeypatch):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    problem = problem_of(noisy, **{"noise.sigma": 8.0})
    whole = refined(pilot, problem)
    monkeypatch.setattr(patches, "STRIP", 30)
    monkeypatch.setattr(patches, "BATCH", 7)
    np.testing.assert_allclose(refined(pilot, problem), whole, rtol=1e-5)


def test_a_star_that_the_pilot_has_too_faint_is_put_right():
    y, x = np.mgrid[:64, :64]
    places = np.random.default_rng(0).uniform(6, 58, (12, 2))
    peaks = np.random.default_rng(1).uniform(200, 4000, 12)
    stars = sum(
        p * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 4.5) for p, (r, c) in zip(peaks, places, strict=True)
    )
    truth = 100 + stars
    seen = np.random.default_rng(2).poisson(truth).astype(float)
    pilot = (100 + 0.9 * stars)[None]
    problem = problem_of(seen, **{"noise.kind": "poisson", "noise.gain": 1.0})
    found = refined(pilot, problem, side=7, alike=40)
    core = stars > 0.5 * stars.max()
    assert abs((found[0] - truth)[core].mean()) < 0.2 * abs((pilot[0] - truth)[core].mean())
    sky = stars < 1
    assert error(found[0][sky], truth[sky]) < 0.3 * error(seen[sky], truth[sky])


def test_noise_that_neighbours_share_is_told_from_what_patches_share():
    y, x = np.mgrid[:48, :56]
    truth = (100 + 20 * np.sin(0.3 * x + 0.1 * y))[None]
    pilot = gaussian_filter(truth, (0, 1, 1))
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (48, 56)), 0.7)
    problem = problem_of(truth[0] + 8 * noise / noise.std(), **{"noise.sigma": 8.0})
    problem.likelihood.correlation_sigma = 0.0
    taken_for_white = refined(pilot, problem)
    problem.likelihood.correlation_sigma = 0.7
    assert error(refined(pilot, problem), truth) < 0.8 * error(taken_for_white, truth)


def test_a_picture_without_any_detail_is_covered_everywhere():
    noisy = np.random.default_rng(0).normal(100, 8, (48, 56))
    found = refined(np.full((1, 48, 56), 100.0), problem_of(noisy, **{"noise.sigma": 8.0}))
    assert error(found, 100) < 4


def test_the_smallest_image_and_the_largest_groups():
    array = np.random.default_rng(0).normal(100, 5, (32, 32))
    found = refined(array[None], problem_of(array, **{"noise.sigma": 5.0}), side=12, alike=100)
    assert np.isfinite(found).all()


def test_it_is_left_out_where_the_noise_is_not_known_or_pixels_are_kept(quick, noisy, unequal):
    off = quick.with_settings({"refinement.patch_method": "none"})
    white = Observation.from_array(noisy, axes="YX")
    shared = Observation.from_array(100 + unequal, axes="YX")
    kept = {"hard_data_consistency": True}
    for recipe, observation, same in (
        (quick, white, False),
        (quick, shared, True),
        (quick.with_settings(kept), white, True),
    ):
        plain = restore(observation, recipe.with_settings({"refinement.patch_method": "none"})).image
        result = restore(observation, recipe)
        assert np.array_equal(result.image, plain) == same
        assert result.provenance["refinement"] == ("none" if same else "patches")
        assert ("alike patches" in result.summary) != same
    forced = restore(shared, quick.with_settings({"refinement.patch_method": "nonlocal-bayes"})).image
    assert not np.array_equal(forced, restore(shared, off).image)


@pytest.mark.parametrize("members", [1, 2])
def test_holes_in_the_image_and_in_its_error_layer_are_filled(quick, noisy, members):
    holes = np.zeros(noisy.shape, bool)
    holes[20:23, 10:30] = True
    errors = np.where(holes, np.nan, 8.0)
    observation = Observation.from_array(noisy, axes="YX", mask=holes).with_auxiliary("sigma", errors)
    result = restore(observation, quick.with_settings({"ensemble.size": members}))
    assert result.provenance["refinement"] == "patches"
    assert np.isfinite(result.image).all()


def second_look(x, problem, watch):
    work = Refinement(patch_method="nonlocal-bayes").refine(
        x, problem, watch, hard_data_consistency=False, alone=False
    )
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value.numpy()


def test_only_what_lessens_the_error_is_taken(stripes):
    truth, smooth = stripes
    grain = np.random.default_rng(1).normal(0, 15, truth.shape)  # nothing that patches could share
    noisy = (truth + grain)[0] + np.random.default_rng(0).normal(0, 15, truth.shape[1:])
    problem = problem_of(noisy, **{"noise.sigma": 15.0})
    watch = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    known = torch.from_numpy(truth + grain).float()
    kept = second_look(known, problem, watch)
    assert error(kept, truth + grain) < 3  # it knows already: what it is offered has an error of 8
    assert error(refined((truth + grain), watch.fit_problem), truth + grain) > 6
    plain = problem_of(truth[0] + np.random.default_rng(0).normal(0, 15, truth.shape[1:]))
    watch = DataFission().monitor(plain, torch.Generator().manual_seed(0))
    better = second_look(torch.from_numpy(smooth).float(), plain, watch)
    assert error(better, truth) < 0.8 * error(smooth, truth)


@pytest.fixture
def blurred():
    """A smooth scene seen through a PSF, its problem, and a picture of it with noise in its detail."""
    rng = np.random.default_rng(0)
    scene = 100 + 2000 * gaussian_filter(rng.normal(size=(96, 96)), 8)
    psf = np.zeros((9, 9))
    psf[4, 4] = 1
    psf = gaussian_filter(psf, 1.5)
    from scipy.signal import fftconvolve

    data = fftconvolve(scene, psf, mode="valid") + rng.normal(0, 2, (88, 88))
    problem = problem_of(data, psf=psf, **{"noise.sigma": 2.0, "operator.kind": "blur"})
    return scene[4:-4, 4:-4], problem


def test_frequencies_that_are_noise_are_taken_out(blurred):
    truth, problem = blurred
    watch = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    # A picture that learnt the noise of the half that it was fitted to.
    x = watch.fit_problem.wiener_estimate() + 0.5 * problem.operator.adjoint(
        watch.fit_problem.y - watch.fit_problem.predicted(watch.fit_problem.wiener_estimate())
    )
    found = shrink_spectrum(x, problem, watch.noise_probe)
    inside = (slice(None), *problem.operator.window)
    before, after = (error(image[inside][0].numpy(), truth) for image in (x, found))
    assert after < 0.8 * before
    np.testing.assert_allclose(found.mean(), x.mean(), rtol=1e-5)


def test_a_picture_without_noise_stays_as_it_is(blurred):
    truth, problem = blurred
    watch = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    x = problem.operator.adjoint(torch.zeros_like(problem.y))
    inside = (slice(None), *problem.operator.window)
    wide = np.pad(
        truth, [(s.start, x.shape[1 + i] - s.stop) for i, s in enumerate(inside[1:])], mode="reflect"
    )
    x = torch.from_numpy(wide)[None].float()
    found = shrink_spectrum(x, problem, watch.noise_probe)
    assert error(found[inside][0].numpy(), truth) < 0.1 * truth.std()


def test_it_is_for_blurs_and_can_be_switched_off(quick, blurred):
    _, problem = blurred
    told = {"operator.kind": "blur", "operator.psf": "gaussian", "operator.fwhm": 3.0}
    recipe = quick.with_settings(told | {"stopping.kind": "data-fission", "solver.max_steps": 100})
    observation = Observation.from_array(problem.y[0, 0].numpy(), axes="YX")
    on, off = (
        restore(observation, recipe.with_settings({"refinement.spectral_shrinkage": kind})).image
        for kind in ("auto", "off")
    )
    assert not np.array_equal(on, off)
    assert Refinement().spectral_shrinkage == "auto"


class TestResidual:
    """A spot that moves over a flat floor, and a fit that has it where it was on average."""

    @pytest.fixture
    def spots(self):
        y, x = np.mgrid[:48, :56]
        truth = np.array([60 * np.exp(-((y - 24) ** 2 + (x - c) ** 2) / 30) for c in (26, 28, 30)])
        return truth + 100, np.repeat(truth.mean(axis=0)[None], 3, axis=0) + 100

    def returned(self, x, array, **told):
        recipe = Recipe().with_settings({"noise.relative_error": 0, "noise.sigma": 5.0, **told})
        folded = Observation.from_array(array, axes="TYX").flatten_planes()
        problem = Problem.from_data(folded, recipe.operator, recipe.noise, device=torch.device("cpu"))
        return add_residual(torch.from_numpy(x).float(), problem).numpy()

    def test_what_has_moved_is_put_where_it_is(self, spots):
        truth, fit = spots
        found = self.returned(fit, truth + np.random.default_rng(0).normal(0, 5, truth.shape))
        assert error(found, truth) < 0.6 * error(fit, truth)

    def test_noise_is_left_out(self, spots):
        truth, _ = spots
        found = self.returned(truth, truth + np.random.default_rng(1).normal(0, 5, truth.shape))
        smoothed = 5 / np.sqrt(4 * np.pi * 2**2)  # what noise is over two pixels
        assert error(found, truth) < 0.4 * smoothed

    def test_nothing_is_returned_where_nothing_is_observed(self, spots):
        truth, fit = spots
        array = truth.copy()
        array[:, :, :28] = np.nan
        found = self.returned(fit, array)
        np.testing.assert_allclose(found[:, :, :20], fit[:, :, :20], rtol=1e-5)
        assert error(found[:, :, 30:], truth[:, :, 30:]) < 0.5 * error(fit[:, :, 30:], truth[:, :, 30:])

    @pytest.mark.parametrize(
        ("change", "look"),
        [
            ({}, "residual"),
            ({"refinement.residual_correction": "off"}, "none"),
            ({"stack.joint_axes": "none"}, "patches"),
        ],
    )
    def test_it_is_for_planes_that_are_restored_together(self, spots, change, look):
        noisy = spots[0] + np.random.default_rng(2).normal(0, 5, spots[0].shape)
        quick = {
            "stack.joint_axes": "T",
            "network.channels": 8,
            "network.depth": 2,
            "solver.max_steps": 12,
        }
        recipe = Recipe().with_settings(quick | change)
        result = restore(Observation.from_array(noisy, axes="TYX"), recipe)
        assert result.provenance["refinement"] == look


class TestLightOfSmallSources:
    @staticmethod
    def stars(fluxes, side=64, width=1.3, level=100.0):
        y, x = np.mgrid[:side, :side]
        truth = np.full((side, side), level)
        for number, flux in enumerate(fluxes):
            row, column = 12 + 20 * (number // 3), 12 + 20 * (number % 3)
            square = (y - row) ** 2 + (x - column) ** 2
            truth += flux / (2 * np.pi * width**2) * np.exp(-square / (2 * width**2))
        return truth

    @staticmethod
    def returned(x, array, **changes):
        recipe = Recipe().with_settings({"noise.relative_error": 0, "noise.sigma": 5.0, **changes})
        observation = Observation.from_array(array, axes="YX")
        problem = Problem.from_data(
            observation, recipe.operator, recipe.noise, device=torch.device("cpu")
        )
        found = add_source_flux(torch.from_numpy(x[None]).float(), problem)
        return None if found is None else found[0].numpy()

    def test_a_flux_that_the_fit_lost_comes_back_without_bias(self):
        truth = self.stars([400] * 9, side=80)
        lost = 100 + 0.8 * (truth - 100)
        gained = []
        for seed in range(20):
            noisy = truth + np.random.default_rng(seed).normal(0, 5, truth.shape)
            gained.append((self.returned(lost, noisy) - lost).sum())
        missing = (truth - lost).sum()
        error = np.std(gained) / np.sqrt(len(gained))
        assert np.mean(gained) == pytest.approx(missing, abs=0.08 * missing + 3 * error)

    def test_the_sky_stays_as_it_is(self):
        truth = self.stars([400, 0, 0, 0, 0, 0, 0, 0, 400])
        noisy = truth + np.random.default_rng(0).normal(0, 5, truth.shape)
        found = self.returned(truth, noisy)
        np.testing.assert_array_equal(found[:24, 40:], truth[:24, 40:].astype(np.float32))
        assert (found != truth.astype(np.float32))[8:16, 8:16].all()

    @pytest.mark.parametrize("kind", ["noise", "a photograph", "a crowd", "a broad thing"])
    def test_it_is_for_small_sources_in_an_empty_image(self, kind):
        rng = np.random.default_rng(0)
        broad = 100 + 60 * np.exp(-(((np.mgrid[:64, :64] - 32) ** 2).sum(axis=0)) / (2 * 12**2))
        x = {
            "noise": np.full((64, 64), 100.0),
            "a photograph": gaussian_filter(rng.normal(0, 300, (64, 64)), 2),
            "a crowd": 100 + 20 * (rng.random((64, 64)) < 0.02),
            "a broad thing": broad,
        }[kind]
        noisy = x + rng.normal(0, 5, x.shape)
        assert self.returned(x, noisy) is None

    def test_a_run_says_that_it_did_it(self, quick):
        noisy = self.stars([4000] * 2) + np.random.default_rng(0).normal(0, 5, (64, 64))
        observation = Observation.from_array(noisy, axes="YX")
        recipe = quick.with_settings(
            {"refinement.patch_method": "nonlocal-bayes", "noise.sigma": 5.0, "solver.max_steps": 150}
        )
        result = restore(observation, recipe)
        assert result.provenance["sources"]
        assert "small sources" in result.summary
        result = restore(observation, recipe.with_settings({"refinement.source_flux_correction": "off"}))
        assert not result.provenance["sources"]
