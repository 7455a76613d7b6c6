import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import norm
from skimage.io import imread

from napari_dip import Observation, Recipe
from napari_dip.physics.correlated_noise import autocorrelation
from napari_dip.physics.noise import estimate_sigma
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.physics.noise.poisson import Poisson, PoissonGaussian
from napari_dip.physics.problem import Problem


def likelihood_of(settings, observation):
    return settings.likelihood(observation).to(torch.device("cpu"))


@pytest.mark.parametrize("sigma", [1e-21, 0.3, 25.0])
def test_the_estimate_is_the_noise_that_was_put_in(sigma):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    image = sigma * (20 * np.sin(x / 20) * np.cos(y / 30) + rng.normal(0, 1, x.shape))
    assert estimate_sigma(image) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("missing", [0.1, 0.5])
def test_holes_do_not_bias_the_estimate(missing):
    found = []
    for seed in range(8):  # one estimate scatters by up to 3 %, for want of whole neighbourhoods
        rng = np.random.default_rng(seed)
        image = rng.normal(50, 4, (200, 200))
        image[rng.random(image.shape) < missing] = np.nan
        found.append(estimate_sigma(image))
    assert np.mean(found) == pytest.approx(4, rel=0.03)


def test_padding_does_not_lower_the_estimate():
    image = np.random.default_rng(0).normal(100, 5, (100, 100))
    image[:, :60] = 0
    assert estimate_sigma(image) == pytest.approx(5, rel=0.1)


def test_an_image_without_noise_has_a_sigma_above_zero(scene):
    assert estimate_sigma(np.round(scene / 50) * 50) > 0


def test_the_gaussian_likelihood_is_the_gaussian_likelihood():
    rng = np.random.default_rng(0)
    y, mean = rng.normal(10, 3, (2, 1, 32, 32)).astype(np.float32)
    observation = Observation.from_array(y[0], axes="YX")
    nll = likelihood_of(Gaussian(sigma=3.0, relative_error=0), observation).nll(
        torch.from_numpy(mean), torch.from_numpy(y)
    )
    expected = -norm(loc=mean, scale=3).logpdf(y) - np.log(3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(nll[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_sigma_is_given_or_read_or_estimated_in_this_order(noisy):
    layer = np.full(noisy.shape, 5.0)
    with_layer = Observation.from_array(noisy, axes="YX", sigma=layer)
    without = Observation.from_array(noisy, axes="YX")
    assert likelihood_of(Gaussian(sigma=3), with_layer).source == "given"
    read = likelihood_of(Gaussian(), with_layer)
    assert (read.source, float(read.sigma[0, 0, 0, 0])) == ("error layer", 5.0)
    found = likelihood_of(Gaussian(), without)
    assert found.source == "estimated"
    assert float(found.sigma[0, 0, 0, 0]) == pytest.approx(8, rel=0.15)


def test_relative_noise_is_felt_by_bright_pixels_only():
    y = np.random.default_rng(0).normal(100, 1, (64, 64))
    y[30, 30] = 1e5
    observation = Observation.from_array(y, axes="YX")
    found = likelihood_of(Gaussian(sigma=1, relative_error=0.01), observation)
    total = found.std(torch.from_numpy(observation.y[:, :, 0].copy()))[0, 0].numpy()
    assert total[30, 30] == pytest.approx(999, rel=1e-3)
    assert np.delete(total.ravel(), 30 * 64 + 30).max() < 1.001


class TestTheCharacterOfTheNoise:
    def character(self, noise, settings=None):
        y, x = np.indices(noise.shape)
        scene = 100 + 30.0 * (np.hypot(y - 60, x - 50) < 30)
        observation = Observation.from_array(scene + noise, axes="YX")
        return likelihood_of(settings or Gaussian(), observation)

    def test_independent_gaussian_noise_is_white(self):
        found = self.character(np.random.default_rng(0).normal(0, 5, (128, 128)))
        assert found.kind == "white"
        assert found.source == "estimated"

    @pytest.mark.parametrize("width", [0.7, 1.0])
    def test_resampled_noise_is_correlated_and_measured(self, width):
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), width)
        found = self.character(15 * noise / noise.std())
        assert found.kind == "correlated"
        assert "neighbouring pixels share it" in found.source
        assert found.correlation_sigma == pytest.approx(width, abs=0.1)
        assert found.sigma.item() == pytest.approx(15, rel=0.1)

    def test_faint_details_that_differ_from_place_to_place_are_structure(self, unequal):
        found = self.character(unequal)
        assert found.kind == "structured"
        assert found.correlation_sigma == 0

    @pytest.mark.parametrize("period", [6, 8, 12])
    def test_a_lattice_is_no_noise(self, period):
        y, x = 2 * np.pi * np.indices((128, 128)) / period
        noise = np.random.default_rng(0).normal(0, 10, (128, 128))
        assert self.character(20 * np.cos(y) * np.cos(x) + noise).kind == "structured"

    def test_noise_is_drawn_as_neighbours_share_it(self):
        likelihood = self.character(np.random.default_rng(0).normal(0, 5, (128, 128)))
        likelihood.correlation_sigma = 0.7
        drawn = likelihood.correlate(torch.randn(300, 400, generator=torch.Generator().manual_seed(0)))
        assert drawn.std().item() == pytest.approx(1, abs=0.02)
        for away, shared in enumerate(autocorrelation(4, 0.7)[1:], start=1):
            found = (drawn[:, away:] * drawn[:, :-away]).mean().item()
            assert found == pytest.approx(np.exp(-((away / 1.4) ** 2)), abs=0.02)
            assert found == pytest.approx(shared, abs=0.02)

    @pytest.mark.parametrize("told", [0.75, 1.25])
    def test_a_wrong_number_is_noticed_and_corrected(self, told):
        noise = np.random.default_rng(0).normal(0, 20, (128, 128))
        for settings in (Gaussian(sigma=20 * told), PoissonGaussian(gain=1.0, read_noise=17 * told)):
            found = self.character(noise, settings)
            assert found.sigma.item() == pytest.approx(20, rel=0.1)
            assert "measured and taken to be" in found.source
            split = found.with_scaled_noise(2.0)
            assert split.sigma.item() == pytest.approx(40, rel=0.1)
            mean = torch.full((1, 1, 128, 128), 100.0)
            np.testing.assert_allclose(split.random_std(mean), 2 * found.random_std(mean), rtol=1e-5)
        honest = self.character(noise, Gaussian(sigma=21.0))
        assert honest.sigma.item() == 21
        assert honest.source == "given"

    @pytest.mark.parametrize("told", [0.2, 5.0])
    def test_structure_tells_nothing_of_the_noise(self, unequal, told):
        sigma = told * float(unequal.std())
        assert self.character(unequal, Gaussian(sigma=sigma)).sigma.item() == pytest.approx(sigma)

    def test_noise_that_was_cut_off_corrects_nothing(self):
        noise = np.random.default_rng(0).normal(0, 40, (128, 128))
        y = np.clip(np.where(np.arange(128) < 64, 20, 235) + noise, 0, 255)
        found = likelihood_of(Gaussian(sigma=40.0), Observation.from_array(y, axes="YX"))
        assert found.source == "given"

    def test_clipped_noise_is_measured_where_it_is_not_clipped(self):
        light = np.linspace(10, 245, 192)
        y = np.clip(light + np.random.default_rng(0).normal(0, 30, (192, 192)), 0, 255)
        observation = Observation.from_array(y, axes="YX")
        found = likelihood_of(Gaussian(censored=True), observation).sigma.item()
        assert found == pytest.approx(30, rel=0.08)
        assert likelihood_of(Gaussian(), observation).sigma.item() < 27

    def test_noise_that_limits_cut_off_is_not_split_but_light_that_they_cut_off_may_be(self):
        rng = np.random.default_rng(0)
        y, x = np.indices((128, 128))
        star = 100 + 3000 * np.exp(-((y - 60) ** 2 + (x - 50) ** 2) / 200)
        for light, sigma, limits, character in (
            (np.where(x < 64, 20, 235), 40, (0, 255), "clipped"),
            (star, 10, (-np.inf, 900), "white"),
        ):
            seen = np.clip(light + rng.normal(0, sigma, light.shape), *limits)
            observation = Observation.from_array(seen, axes="YX")
            settings = Gaussian(sigma=sigma, censored=True)
            assert likelihood_of(settings, observation).kind == character

    def test_both_versions_of_correlated_data_have_independent_noise(self):
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), 0.7)
        likelihood = self.character(15 * noise / noise.std())
        y = torch.from_numpy(15 * noise / noise.std()).float()[None, None]
        first, second = likelihood.split(y, y, 0.5, torch.Generator().manual_seed(0))
        for down, right in ((0, 0), (0, 1), (1, 1)):
            together = (first * second.roll((down, right), (-2, -1))).mean().item()
            assert abs(together) < 0.12 * 15**2

    def test_noise_with_outliers_has_long_tails(self):
        found = self.character(np.random.default_rng(0).standard_t(4, (128, 128)))
        assert found.kind == "long tails"

    @pytest.mark.parametrize("light", [0.2, 3, 30])
    def test_photon_noise_is_what_its_model_says(self, light):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:128, :128]
        scene = light * (1 + (np.hypot(y - 60, x - 50) < 30))
        observation = Observation.from_array(rng.poisson(scene).astype(float), axes="YX")
        assert likelihood_of(Poisson(gain=1.0), observation).kind == "white"

    def test_it_decides_how_the_data_are_split(self, unequal):
        rng = np.random.default_rng(0)
        tails, white = rng.standard_t(4, (128, 128)), rng.normal(0, 1, (128, 128))
        shared = gaussian_filter(white, 0.6)
        found = []
        for noise in (white, shared, tails, unequal):
            frame = Observation.from_array(100 + noise, axes="YX")
            recipe = Recipe()
            problem = Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))
            split = recipe.self_supervision.select_method(problem, 1)
            watch = recipe.stopping.monitor(problem, torch.Generator().manual_seed(0))
            all_fitted = torch.equal(watch.fit_problem.observed, problem.observed)
            found.append((split, all_fitted, watch.noise_probe is not None))
        assert found == [
            ("noise", True, True),
            ("noise", True, False),
            ("pixels", False, False),
            ("none", False, False),
        ]


@pytest.mark.parametrize("sigma", [15.0, 25.0, 50.0])
@pytest.mark.parametrize("name", ["barbara", "F16_GT"])
def test_texture_is_not_taken_for_noise(data_folder, name, sigma):
    image = imread(data_folder / "natural" / f"{name}.png").astype(float)
    image = (image[..., 1] if image.ndim == 3 else image)[128:384, 128:384]
    noisy = image + np.random.default_rng(1).normal(0, sigma, image.shape)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.03)


def test_a_track_is_found_up_to_the_frame_s_edge():
    frame = np.random.default_rng(0).normal(100, 5, (96, 96))
    track = np.zeros(frame.shape, bool)
    for row in range(80, 96):
        track[row, 30 + row // 4] = True
    frame[track] += 400
    found = likelihood_of(Gaussian(reject_outliers=True), Observation.from_array(frame, axes="YX"))
    assert found.outliers[0, 0][track].all()
    beside = binary_dilation(track, np.ones((3, 3)))
    assert found.outliers[0, 0][~beside].sum() <= 2
