from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_dip import restore
from napari_dip.fitting.stopping.data_fission import DataFission
from napari_dip.physics.data_consistency import wiener_estimate
from napari_dip.refine import _patch_search, patches
from napari_dip.refine.patches import PatchSettings, nonlocal_bayes, smooth_patches
from napari_dip.refine.residual_return import add_residual, add_source_flux, noisy_scene
from napari_dip.refine.settings import Refinement
from napari_dip.refine.spectral_shrinkage import shrink_spectrum


@pytest.fixture
def problem_of(make_observation, make_problem):
    """Make the problem of an array without relative errors."""

    def problem_of(array, settings=None, *, axes="YX", mask=None, psf=None):
        auxiliary = {} if psf is None else {"psf": psf}
        observation = make_observation(array, axes, mask=mask, auxiliary=auxiliary)
        return make_problem(observation, {"noise.relative_error": 0, **(settings or {})})

    return problem_of


def returned_by(work):
    """What a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def refined(pilot, problem, *, patch_size=5, group_size=20):
    x = torch.from_numpy(pilot).float()
    width = problem.likelihood.properties.correlation_sigma
    settings = PatchSettings(patch_size, group_size)
    return returned_by(nonlocal_bayes(x, *noisy_scene(problem, x), width, settings)).numpy()


def error(x, truth):
    return np.sqrt(np.mean((x - truth) ** 2))


@pytest.fixture
def stripes():
    """(1, 48, 56) float: stripes that a smooth pilot has lost for a good part, and such a pilot."""
    y, x = np.mgrid[:48, :56]
    truth = 100 + 20 * np.sin(0.9 * x + 0.3 * y)
    return truth[None], gaussian_filter(truth, 1)[None]


def test_an_image_that_is_its_own_pilot_has_the_same_estimate(monkeypatch, stripes):
    noise = np.random.default_rng(0).normal(0, 8, stripes[0].shape)
    x = torch.from_numpy(stripes[0] + noise).float()
    settings = PatchSettings(7, 30)
    expected = returned_by(nonlocal_bayes(x, x, torch.full_like(x, 6.0), 0.0, settings))
    monkeypatch.setattr(patches, "OWN_PILOT_STRIDE_PX", patches.SEARCH_STRIDE_PX)
    smooth = returned_by(smooth_patches(x, 6.0, settings))
    torch.testing.assert_close(smooth, expected, rtol=1e-5, atol=1e-4)
    assert error(smooth.numpy(), stripes[0]) < 0.85 * error(x.numpy(), stripes[0])


def test_what_the_pilot_has_lost_comes_back_from_the_data(problem_of, stripes):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    found = refined(pilot, problem_of(noisy, {"noise.sigma": 8.0}))
    assert error(found, truth) < 0.5 * error(pilot, truth)
    assert error(found, truth) < 0.5 * error(noisy, truth)


@pytest.mark.parametrize("value", [0.0, 1e9])
def test_the_value_of_a_missing_pixel_changes_nothing(problem_of, stripes, value):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    mask = np.zeros(noisy.shape, bool)
    mask[20:24, 20:30] = True
    before = refined(pilot, problem_of(noisy, {"noise.sigma": 8.0}, mask=mask))
    noisy[mask] = value
    after = refined(pilot, problem_of(noisy, {"noise.sigma": 8.0}, mask=mask))
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before).all()


def test_batches_leave_no_seam(problem_of, stripes, monkeypatch):
    truth, pilot = stripes
    noisy = truth[0] + np.random.default_rng(0).normal(0, 8, truth.shape[1:])
    problem = problem_of(noisy, {"noise.sigma": 8.0})
    whole = refined(pilot, problem)
    monkeypatch.setattr(_patch_search, "DISTANCES_PER_BATCH", 441 * 30)
    monkeypatch.setattr(_patch_search, "GROUPS_PER_BATCH", 7)
    np.testing.assert_allclose(refined(pilot, problem), whole, rtol=1e-5)


def test_a_star_that_the_pilot_has_too_faint_is_put_right(problem_of):
    y, x = np.mgrid[:64, :64]
    places = np.random.default_rng(0).uniform(6, 58, (12, 2))
    peaks = np.random.default_rng(1).uniform(200, 4000, 12)
    stars = sum(
        p * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 4.5) for p, (r, c) in zip(peaks, places, strict=True)
    )
    truth = 100 + stars
    seen = np.random.default_rng(2).poisson(truth).astype(float)
    pilot = (100 + 0.9 * stars)[None]
    problem = problem_of(seen, {"noise.kind": "poisson", "noise.gain": 1.0})
    found = refined(pilot, problem, patch_size=7, group_size=40)
    core = stars > 0.5 * stars.max()
    assert abs((found[0] - truth)[core].mean()) < 0.2 * abs((pilot[0] - truth)[core].mean())
    sky = stars < 1
    assert error(found[0][sky], truth[sky]) < 0.3 * error(seen[sky], truth[sky])


@pytest.mark.parametrize(("photons", "is_chained"), [(0.3, False), (2, False), (10, True)])
def test_few_photons_are_not_chained(problem_of, photons, is_chained):
    counts = np.random.default_rng(0).poisson(photons, (48, 48)).astype(float)
    problem = problem_of(counts, {"noise.kind": "poisson", "noise.gain": 1.0})
    assert Refinement().can_chain(problem) == is_chained
    assert Refinement(patch_method="chained").can_chain(problem)


def test_correlated_noise_is_distinguished_from_what_patches_share(problem_of):
    y, x = np.mgrid[:48, :56]
    truth = (100 + 20 * np.sin(0.3 * x + 0.1 * y))[None]
    pilot = gaussian_filter(truth, (0, 1, 1))
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (48, 56)), 0.7)
    problem = problem_of(truth[0] + 8 * noise / noise.std(), {"noise.sigma": 8.0})
    likelihood, errors = problem.likelihood, {}
    for width in (0.0, 0.7):
        properties = replace(likelihood.properties, correlation_sigma=width)
        as_if = replace(problem, likelihood=likelihood.with_properties(properties))
        errors[width] = error(refined(pilot, as_if), truth)
    assert errors[0.7] < 0.8 * errors[0.0]


def test_an_image_without_any_detail_is_covered_everywhere(problem_of):
    noisy = np.random.default_rng(0).normal(100, 8, (48, 56))
    found = refined(np.full((1, 48, 56), 100.0), problem_of(noisy, {"noise.sigma": 8.0}))
    assert error(found, 100) < 4


def test_the_smallest_image_and_the_largest_groups(problem_of):
    array = np.random.default_rng(0).normal(100, 5, (32, 32))
    found = refined(array[None], problem_of(array, {"noise.sigma": 5.0}), patch_size=12, group_size=100)
    assert np.isfinite(found).all()


def test_it_is_left_out_where_the_noise_is_not_known_or_pixels_are_kept(
    fast_recipe, noisy, unequal, make_observation
):
    off = fast_recipe.with_settings({"refinement.patch_method": "none"})
    white, structured = make_observation(noisy), make_observation(100 + unequal)
    hard = {"hard_data_consistency": True}
    for recipe, observation, same in (
        (fast_recipe, white, False),
        (fast_recipe, structured, True),
        (fast_recipe.with_settings(hard), white, True),
    ):
        plain = restore(observation, recipe.with_settings({"refinement.patch_method": "none"})).image
        result = restore(observation, recipe)
        assert np.array_equal(result.image, plain) == same
        assert result.provenance.refinement == ("none" if same else "patches")
        assert ("refined by similar patches" in result.summary) != same
    forced = fast_recipe.with_settings({"refinement.patch_method": "nonlocal-bayes"})
    assert not np.array_equal(restore(structured, forced).image, restore(structured, off).image)


@pytest.mark.parametrize("members", [1, 2])
def test_pixels_that_are_missing_in_image_and_error_plane_are_inpainted(fast_recipe, noisy, members):
    mask = np.zeros(noisy.shape, bool)
    mask[20:23, 10:30] = True
    sigma = np.where(mask, np.nan, 8.0)
    recipe = fast_recipe.with_settings({"ensemble.size": members})
    result = restore(noisy, recipe, mask=mask, auxiliary={"sigma": sigma})
    assert result.provenance.refinement == "patches"
    assert np.isfinite(result.image).all()


def refined_under(monitor, x, problem):
    refinement = Refinement(patch_method="nonlocal-bayes")
    options = {"hard_data_consistency": False, "is_single_fit": False}
    return returned_by(refinement.refine(x, problem, monitor, **options)).numpy()


def test_only_what_lowers_the_error_is_taken(problem_of, stripes):
    truth, smooth = stripes
    texture = np.random.default_rng(1).normal(0, 15, truth.shape)  # nothing that patches could share
    noisy = (truth + texture)[0] + np.random.default_rng(0).normal(0, 15, truth.shape[1:])
    problem = problem_of(noisy, {"noise.sigma": 15.0})
    monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    known = torch.from_numpy(truth + texture).float()
    kept = refined_under(monitor, known, problem)
    assert error(kept, truth + texture) < 3  # it knows already: what it is offered has an error of 8
    assert error(refined((truth + texture), monitor.fit_problem), truth + texture) > 6
    plain = problem_of(truth[0] + np.random.default_rng(0).normal(0, 15, truth.shape[1:]))
    monitor = DataFission().monitor(plain, torch.Generator().manual_seed(0))
    better = refined_under(monitor, torch.from_numpy(smooth).float(), plain)
    assert error(better, truth) < 0.8 * error(smooth, truth)


@pytest.fixture
def blurred(problem_of):
    """A smooth scene, and its problem behind a blur."""
    rng = np.random.default_rng(0)
    scene = 100 + 2000 * gaussian_filter(rng.normal(size=(96, 96)), 8)
    psf = np.zeros((9, 9))
    psf[4, 4] = 1
    psf = gaussian_filter(psf, 1.5)
    from scipy.signal import fftconvolve

    data = fftconvolve(scene, psf, mode="valid") + rng.normal(0, 2, (88, 88))
    problem = problem_of(data, {"noise.sigma": 2.0, "operator.kind": "blur"}, psf=psf)
    return scene[4:-4, 4:-4], problem


def test_frequencies_that_are_noise_are_taken_out(blurred):
    truth, problem = blurred
    monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    # An image that learned the noise of the part that it was fitted to.
    x = wiener_estimate(monitor.fit_problem)
    x = x + 0.5 * problem.operator.adjoint(monitor.fit_problem.residual(x))
    found = shrink_spectrum(x, problem, monitor.noise_probe)
    inside = (slice(None), *problem.operator.valid_region)
    before, after = (error(image[inside][0].numpy(), truth) for image in (x, found))
    assert after < 0.8 * before
    np.testing.assert_allclose(found.mean(), x.mean(), rtol=1e-5)


def test_an_image_without_noise_stays_as_it_is(blurred):
    truth, problem = blurred
    monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
    x = problem.operator.adjoint(torch.zeros_like(problem.y))
    inside = (slice(None), *problem.operator.valid_region)
    wide = np.pad(
        truth, [(s.start, x.shape[1 + i] - s.stop) for i, s in enumerate(inside[1:])], mode="reflect"
    )
    x = torch.from_numpy(wide)[None].float()
    found = shrink_spectrum(x, problem, monitor.noise_probe)
    assert error(found[inside][0].numpy(), truth) < 0.1 * truth.std()


def test_spectral_shrinkage_is_for_blurs_and_can_be_switched_off(fast_recipe, blurred):
    _, problem = blurred
    blur = {"operator.kind": "blur", "operator.psf": "gaussian", "operator.fwhm": 3.0}
    recipe = fast_recipe.with_settings(blur | {"stopping.kind": "data-fission", "solver.max_steps": 100})
    data = problem.y[0, 0].numpy()
    on, off = (
        restore(data, recipe.with_settings({"refinement.spectral_shrinkage": kind})).image
        for kind in ("auto", "off")
    )
    assert not np.array_equal(on, off)
    assert Refinement().spectral_shrinkage == "auto"


class TestResidualCorrection:
    """A spot that moves over a flat floor, and a fit that has it where it was on average."""

    @pytest.fixture
    def spots(self):
        y, x = np.mgrid[:48, :56]
        truth = np.array([60 * np.exp(-((y - 24) ** 2 + (x - c) ** 2) / 30) for c in (26, 28, 30)])
        return truth + 100, np.repeat(truth.mean(axis=0)[None], 3, axis=0) + 100

    @pytest.fixture
    def corrected(self, problem_of):
        """Correct a fit by the residual of some frames."""

        def corrected(x, array):
            problem = problem_of(array, {"noise.sigma": 5.0}, axes="TYX")
            return add_residual(torch.from_numpy(x).float(), problem).numpy()

        return corrected

    def test_what_has_moved_is_put_where_it_is(self, spots, corrected):
        truth, fit = spots
        found = corrected(fit, truth + np.random.default_rng(0).normal(0, 5, truth.shape))
        assert error(found, truth) < 0.6 * error(fit, truth)

    def test_noise_is_left_out(self, spots, corrected):
        truth, _ = spots
        found = corrected(truth, truth + np.random.default_rng(1).normal(0, 5, truth.shape))
        smoothed = 5 / np.sqrt(4 * np.pi * 2**2)  # what noise is over two pixels
        assert error(found, truth) < 0.4 * smoothed

    def test_nothing_is_added_where_nothing_is_observed(self, spots, corrected):
        truth, fit = spots
        array = truth.copy()
        array[:, :, :28] = np.nan
        found = corrected(fit, array)
        np.testing.assert_allclose(found[:, :, :20], fit[:, :, :20], rtol=1e-5)
        assert error(found[:, :, 30:], truth[:, :, 30:]) < 0.5 * error(fit[:, :, 30:], truth[:, :, 30:])

    @pytest.mark.parametrize(
        ("change", "method"),
        [
            ({}, "patches"),
            ({"refinement.patch_method": "none"}, "residual"),
            ({"refinement.patch_method": "none", "refinement.residual_correction": "off"}, "none"),
            ({"stack.joint_axes": "none"}, "patches"),
        ],
    )
    def test_it_is_for_planes_that_are_restored_jointly(self, spots, fast_recipe, change, method):
        noisy = spots[0] + np.random.default_rng(2).normal(0, 5, spots[0].shape)
        recipe = fast_recipe.with_settings({"stack.joint_axes": "T", **change})
        assert restore(noisy, recipe, axes="TYX").provenance.refinement == method


class TestPlanesTogether:
    """Times and depths that are restored jointly, and the weights of two estimates of them."""

    @pytest.fixture(params=["TYX", "ZYX"])
    def refined_planes(self, request, problem_of):
        """Refine the blurred truth, and return it with the scene that was refined."""

        def refined_planes(truth):
            rng, smooth = np.random.default_rng(1), gaussian_filter(truth, (0, 1.5, 1.5))
            problem = problem_of(
                truth + rng.normal(0, 20, truth.shape), {"noise.sigma": 20.0}, axes=request.param
            )
            monitor = DataFission().monitor(problem, torch.Generator().manual_seed(0))
            options = {"hard_data_consistency": False, "is_single_fit": True}
            refinement, x = Refinement(), torch.from_numpy(smooth).float()
            found = returned_by(refinement.refine(x, problem, monitor, **options)).numpy()
            axis = request.param[0]
            estimates = [returned_by(refinement.chain(x, problem, a)).numpy() for a in (axis, "C")]
            return found, *estimates

        return refined_planes

    def test_a_still_scene_gains_from_all_planes(self, refined_planes):
        still = 100 + 200 * gaussian_filter(np.random.default_rng(0).normal(0, 1, (48, 48)), 2)
        truth = np.repeat(still[None], 4, axis=0)
        found, jointly, separately = (error(x, truth) for x in refined_planes(truth))
        assert jointly < 0.7 * separately
        assert found < 1.1 * jointly

    def test_what_moves_fast_is_estimated_plane_by_plane(self, refined_planes):
        y, x = np.mgrid[:48, :64]
        truth = np.array([100 + 120 * (np.hypot(y - 24, x - 12 - 8 * t) < 5) for t in range(6)], float)
        found, jointly, separately = (error(x, truth) for x in refined_planes(truth))
        assert separately < 0.9 * jointly
        assert found < 1.05 * separately


class TestFluxOfSmallSources:
    @staticmethod
    def stars(fluxes, side=64, width=1.3, level=100.0):
        y, x = np.mgrid[:side, :side]
        truth = np.full((side, side), level)
        for number, flux in enumerate(fluxes):
            row, column = 12 + 20 * (number // 3), 12 + 20 * (number % 3)
            square = (y - row) ** 2 + (x - column) ** 2
            truth += flux / (2 * np.pi * width**2) * np.exp(-square / (2 * width**2))
        return truth

    @pytest.fixture
    def corrected(self, problem_of):
        """Correct the flux of the sources in a fit by some data; None if it has no sources."""

        def corrected(x, array):
            problem = problem_of(array, {"noise.sigma": 5.0})
            found = add_source_flux(torch.from_numpy(x[None]).float(), problem)
            return None if found is None else found[0].numpy()

        return corrected

    def test_a_flux_that_the_fit_lost_comes_back_without_bias(self, corrected):
        truth = self.stars([400] * 9, side=80)
        lost = 100 + 0.8 * (truth - 100)
        gained = []
        for seed in range(20):
            noisy = truth + np.random.default_rng(seed).normal(0, 5, truth.shape)
            gained.append((corrected(lost, noisy) - lost).sum())
        missing = (truth - lost).sum()
        error = np.std(gained) / np.sqrt(len(gained))
        assert np.mean(gained) == pytest.approx(missing, abs=0.08 * missing + 3 * error)

    def test_the_sky_stays_as_it_is(self, corrected):
        truth = self.stars([400, 0, 0, 0, 0, 0, 0, 0, 400])
        noisy = truth + np.random.default_rng(0).normal(0, 5, truth.shape)
        found = corrected(truth, noisy)
        np.testing.assert_array_equal(found[:24, 40:], truth[:24, 40:].astype(np.float32))
        assert (found != truth.astype(np.float32))[8:16, 8:16].all()

    @pytest.mark.parametrize("kind", ["noise", "a photograph", "a crowd", "a broad thing"])
    def test_it_is_for_small_sources_in_an_empty_image(self, corrected, kind):
        rng = np.random.default_rng(0)
        broad = 100 + 60 * np.exp(-(((np.mgrid[:64, :64] - 32) ** 2).sum(axis=0)) / (2 * 12**2))
        x = {
            "noise": np.full((64, 64), 100.0),
            "a photograph": gaussian_filter(rng.normal(0, 300, (64, 64)), 2),
            "a crowd": 100 + 20 * (rng.random((64, 64)) < 0.02),
            "a broad thing": broad,
        }[kind]
        noisy = x + rng.normal(0, 5, x.shape)
        assert corrected(x, noisy) is None

    def test_a_run_says_that_it_did_it(self, fast_recipe):
        noisy = self.stars([4000] * 2) + np.random.default_rng(0).normal(0, 5, (64, 64))
        recipe = fast_recipe.with_settings(
            {"refinement.patch_method": "nonlocal-bayes", "noise.sigma": 5.0, "solver.max_steps": 150}
        )
        result = restore(noisy, recipe)
        assert result.provenance.source_flux_corrected
        assert "missed flux of small sources added back" in result.summary
        result = restore(noisy, recipe.with_settings({"refinement.source_flux_correction": "off"}))
        assert not result.provenance.source_flux_corrected
