"""Point sources: found where they are, with the flux that they have, and nothing else taken for one."""

import numpy as np
import pytest
import torch

from napari_dip import Recipe, SettingsError, restore
from napari_dip.physics._point_profiles import GaussianProfile, PointSources, SampledProfile
from napari_dip.physics.operators._psf import psf_model
from napari_dip.physics.operators.blur import Blur
from napari_dip.physics.point_sources import find_point_sources

FWHM, NOISE, SIDE = 4.0, 5.0, 96
PSF = psf_model("gaussian", FWHM)
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)


def star(y, x, flux, fwhm=FWHM):
    one = PointSources(np.array([[y, x]]), np.zeros((1, 2)), np.array([[flux]]), np.zeros((1, 1)))
    return one.image(GaussianProfile(fwhm), (SIDE, SIDE))[0]


def noisy(scene, seed=0):
    return scene + np.random.default_rng(seed).normal(100, NOISE, scene.shape)


def found_in(planes):
    planes = np.atleast_3d(planes.T).T
    return find_point_sources(planes, np.full(planes.shape, NOISE), SampledProfile(PSF))


def errors(found, places):
    """The distance of each place from the nearest source, and the index of that."""
    distances = np.hypot(*(found.positions[:, None] - np.array(places)).transpose(2, 0, 1))
    return distances.min(axis=0), distances.argmin(axis=0)


@pytest.mark.parametrize("order", [(0, 0), (1, 0), (0, 1)], ids=str)
def test_a_sampled_psf_is_interpolated(order):
    places = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    exact = GaussianProfile(FWHM).stamps(places, 5, order)
    sampled = SampledProfile(psf_model("gaussian", FWHM)).stamps(places, 5, order)
    np.testing.assert_allclose(sampled, exact, atol=2e-3 * np.abs(exact).max())


class TestSearch:
    PLACES = ((20.3, 30.8), (50.0, 70.5), (75.6, 25.1), (60.2, 45.4), (2.4, 60.0))
    FLUXES = (20000.0, 5000.0, 2000.0, 1500.0, 4000.0)

    def test_stars_are_found_between_pixels_with_their_fluxes(self):
        scene = sum(star(*place, flux) for place, flux in zip(self.PLACES, self.FLUXES, strict=True))
        found = found_in(noisy(scene))
        assert len(found) == len(self.PLACES)
        distance, index = errors(found, self.PLACES)
        std = found.position_std[index].max(axis=1)
        assert (distance < np.maximum(4 * std, 0.02)).all()
        assert (np.abs(found.fluxes[0, index] - self.FLUXES) < 4 * found.flux_std[0, index]).all()

    def test_stated_errors_are_those_of_many_noises(self):
        stars = [found_in(noisy(star(48.3, 47.8, 3000), seed)) for seed in range(40)]
        flux = np.array([found.fluxes[0, 0] for found in stars])
        place = np.array([found.positions[0] for found in stars])
        # The PSF's own error of 2 % is in the stated ones, too.
        stated = stars[0].flux_std[0, 0], stars[0].position_std[0].mean()
        assert 0.7 < flux.std() / stated[0] < 1.4
        assert 0.7 < place.std(axis=0).mean() / stated[1] < 1.4

    @pytest.mark.parametrize("distance", [0.6, 1.2])
    def test_two_stars_that_overlap_are_two(self, distance):
        places = (48.0, 40.0), (48.0, 40.0 + distance * FWHM)
        found = found_in(noisy(star(*places[0], 20000) + star(*places[1], 12000)))
        assert len(found) == 2
        offset, index = errors(found, places)
        assert (offset < 0.1).all()
        np.testing.assert_allclose(found.fluxes[0, index], (20000, 12000), rtol=0.05)

    def test_a_faint_star_beside_a_bright_one_is_found(self):
        found = found_in(noisy(star(48, 48, 30000) + star(48, 58, 1500)))
        assert len(found) == 2

    @pytest.mark.parametrize(
        "other",
        [
            np.where((Y == 40) & (X == 40), 3000.0, 0),
            500 * np.exp(-np.hypot(Y - 40, X - 40) / 4),
            300.0 * (np.hypot(Y - 40, X - 40) < 8),
            np.where(X > 48, 800.0, 0),
            np.where(np.abs(Y - 40) < 2, 300.0, 0),
            50 * np.sin(X / 3) * np.sin(Y / 3),
        ],
        ids=["hot pixel", "galaxy", "nucleus", "edge", "line", "texture"],
    )
    def test_other_things_are_no_points(self, other):
        assert len(found_in(noisy(other))) == 0

    def test_channels_share_the_places_of_stars(self):
        scene = star(30.4, 50.7, 9000)
        found = found_in(np.stack([noisy(scene), noisy(0.5 * scene, 1), noisy(0 * scene, 2)]))
        assert found.fluxes.shape == (3, 1)
        expected = np.array([9000, 4500, 0])
        assert (np.abs(found.fluxes[:, 0] - expected) < 4 * found.flux_std[:, 0]).all()

    def test_a_channel_without_data_has_no_flux(self):
        image = noisy(star(30.4, 50.7, 9000))
        found = found_in(np.stack([image, np.full_like(image, np.nan)]))
        assert found.fluxes[0, 0] == pytest.approx(9000, rel=0.05)
        assert found.fluxes[1, 0] == 0

    def test_a_psf_of_few_pixels_tells_no_points(self):
        image = noisy(np.where((Y == 40) & (X == 40), 3000.0, 0))[None]
        box = SampledProfile(np.full((3, 3), 1 / 9))
        assert len(find_point_sources(image, np.full(image.shape, NOISE), box)) == 0

    def test_missing_pixels_are_left_out(self):
        image = noisy(star(48.3, 47.8, 9000))
        image[np.random.default_rng(1).random(image.shape) < 0.3] = np.nan
        found = found_in(image)
        assert len(found) == 1
        assert abs(found.fluxes[0, 0] - 9000) < 4 * found.flux_std[0, 0]


class TestDeconvolution:
    STARS = star(30.3, 40.6, 40000) + star(66.1, 20.2, 8000)

    @pytest.fixture
    def problem(self, make_data, make_problem):
        recipe = Recipe.preset("deconvolve").with_settings({"operator.fwhm": FWHM})
        return make_problem(make_data(noisy(self.STARS)), recipe=recipe)

    def test_what_is_left_for_the_network_has_no_stars(self, problem):
        values, _ = problem.scaled_data()
        assert values.std() == pytest.approx(NOISE, rel=0.05)
        assert float(problem.operator.foreground.sum()) == pytest.approx(48000, rel=0.01)

    def test_stars_of_the_result_have_the_width_that_is_asked_for(self, make_observation, fast_recipe):
        settings = {"operator.kind": "blur", "operator.fwhm": FWHM, "operator.target_fwhm": 2.5}
        result = restore(make_observation(noisy(self.STARS)), fast_recipe.with_settings(settings))
        expected = star(30.3, 40.6, 40000, 2.5)[20:41, 30:51]
        image = result.image[20:41, 30:51] - np.median(result.image)
        peak = expected.max()
        assert np.abs(image - expected).max() < 0.01 * peak
        assert image.sum() == pytest.approx(40000, rel=0.01)

    def test_their_errors_are_in_the_uncertainty(self, make_observation, fast_recipe):
        settings = {"operator.kind": "blur", "operator.fwhm": FWHM, "ensemble.size": 2}
        result = restore(make_observation(noisy(self.STARS)), fast_recipe.with_settings(settings))
        assert result.uncertainty[30, 40] > 10 * np.median(result.uncertainty)

    def test_a_scene_is_seen_through_what_its_resolution_leaves_of_the_psf(self, make_data):
        operator = Blur(fwhm=FWHM, target_fwhm=2.0).build(make_data(noisy(self.STARS)))
        point = np.zeros(operator.scene_shape)
        row, column = (n // 2 for n in point.shape[1:])
        half = len(PSF) // 2
        sharp = psf_model("gaussian", 2.0)
        reach = len(sharp) // 2
        place = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        point[0][place] = sharp
        seen = operator(torch.from_numpy(point.astype(np.float32)))[0, 0].numpy()
        at = row - half, column - half
        spread = seen[at[0] - half : at[0] + half + 1, at[1] - half : at[1] + half + 1]
        np.testing.assert_allclose(spread, PSF, atol=1e-3 * PSF.max())

    def test_a_detail_as_wide_as_the_psf_is_refused(self, make_data):
        with pytest.raises(SettingsError, match="target_fwhm is 5 pixels, and the PSF is not wider"):
            Blur(fwhm=FWHM, target_fwhm=5.0).build(make_data(noisy(self.STARS)))

    def test_narrow_psfs_get_narrower_detail(self, make_data):
        data = make_data(noisy(self.STARS))
        widths = [Blur(fwhm=fwhm).build(data).resolution_fwhm for fwhm in (4.0, 1.8, 0.5)]
        assert widths == [2.0, 1.7, 0.0]
