from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from astropy.io import fits
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import norm
from skimage.io import imread

from napari_dip import Header, KSpace, Recipe
from napari_dip.core.errors import RestorationError
from napari_dip.physics.correlated_noise import autocorrelation
from napari_dip.physics.noise import estimate_sigma
from napari_dip.physics.noise._quiet_blocks import quiet_blocks
from napari_dip.physics.noise._robust import huber
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.physics.noise.poisson import Poisson, PoissonGaussian
from napari_dip.physics.splitting import split_noise


@pytest.mark.parametrize("sigma", [1e-21, 0.3, 25.0])
def test_the_estimate_is_the_noise_that_was_put_in(sigma):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    image = sigma * (20 * np.sin(x / 20) * np.cos(y / 30) + rng.normal(0, 1, x.shape))
    assert estimate_sigma(image) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("missing", [0.1, 0.5])
def test_missing_pixels_do_not_bias_the_estimate(missing):
    found = []
    for seed in range(8):  # one estimate scatters by up to 3 %, for lack of complete neighborhoods
        rng = np.random.default_rng(seed)
        image = rng.normal(50, 4, (200, 200))
        image[rng.random(image.shape) < missing] = np.nan
        found.append(estimate_sigma(image))
    assert np.mean(found) == pytest.approx(4, rel=0.03)


def test_padding_does_not_lower_the_estimate():
    image = np.random.default_rng(0).normal(100, 5, (100, 100))
    image[:, :60] = 0
    assert estimate_sigma(image) == pytest.approx(5, rel=0.1)


def test_an_image_without_noise_has_a_sigma_above_zero_and_within_its_own_spread(scene):
    steps = np.round(scene / 50) * 50
    assert 1e-3 * steps.std() <= estimate_sigma(steps) <= steps.std()
    smooth = np.outer(np.sin(np.arange(100) / 20), np.cos(np.arange(100) / 30))
    assert estimate_sigma(smooth) == pytest.approx(1e-3 * smooth.std())


def test_of_pixels_without_neighbors_the_estimate_is_their_spread():
    image = np.full((64, 64), np.nan)
    image[::2, ::2] = np.random.default_rng(0).normal(50, 4, (32, 32))
    assert estimate_sigma(image) == pytest.approx(np.nanstd(image), rel=1e-6)


def test_a_plane_without_contrast_has_the_noise_of_the_others(make_data):
    rng = np.random.default_rng(0)
    planes = np.stack([rng.normal(0, 5, (64, 64)), np.full((64, 64), 255.0), rng.normal(0, 9, (64, 64))])
    sigma = Gaussian().likelihood(make_data(planes, "CYX")).properties.sigma.ravel()
    assert sigma[1] == pytest.approx((sigma[0] + sigma[2]) / 2, rel=1e-5)
    assert sigma[[0, 2]] == pytest.approx([5, 9], rel=0.1)


def test_the_gaussian_likelihood_is_the_gaussian_likelihood(make_data):
    rng = np.random.default_rng(0)
    y, mean = rng.normal(10, 3, (2, 1, 32, 32)).astype(np.float32)
    likelihood = Gaussian(sigma=3.0, relative_error=0).likelihood(make_data(y[0]))
    nll = likelihood.nll(torch.from_numpy(mean), torch.from_numpy(y))
    expected = -norm(loc=mean, scale=3).logpdf(y) - np.log(3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(nll[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_sigma_is_given_or_read_or_estimated_in_this_order(noisy, make_data):
    with_plane = make_data(noisy, sigma=np.full(noisy.shape, 5.0))
    assert Gaussian(sigma=3).likelihood(with_plane).properties.source == "given"
    read = Gaussian().likelihood(with_plane).properties
    assert (read.source, float(read.sigma[0, 0, 0, 0])) == ("error plane", 5.0)
    measured = Gaussian().likelihood(make_data(noisy)).properties
    assert measured.source == "estimated"
    assert float(measured.sigma[0, 0, 0, 0]) == pytest.approx(8, rel=0.15)


def test_relative_noise_is_felt_by_bright_pixels_only(make_data):
    y = np.random.default_rng(0).normal(100, 1, (64, 64))
    y[30, 30] = 1e5
    data = make_data(y)
    likelihood = Gaussian(sigma=1, relative_error=0.01).likelihood(data)
    total = likelihood.std(torch.from_numpy(data.y.copy()))[0, 0].numpy()
    assert total[30, 30] == pytest.approx(999, rel=1e-3)
    assert np.delete(total.ravel(), 30 * 64 + 30).max() < 1.001


class TestTheKindOfTheNoise:
    @pytest.fixture
    def likelihood_of(self, make_data):
        """Give the likelihood of a disk under some noise."""
        y, x = np.indices((256, 256))
        scene = 100 + 30.0 * (np.hypot(y - 60, x - 50) < 30)

        def likelihood_of(noise, settings=None):
            inside = tuple(slice(side) for side in noise.shape)
            return (settings or Gaussian()).likelihood(make_data(scene[inside] + noise))

        return likelihood_of

    def test_independent_gaussian_noise_is_white(self, likelihood_of):
        properties = likelihood_of(np.random.default_rng(0).normal(0, 5, (128, 128))).properties
        assert properties.kind == "white"
        assert properties.source == "estimated"

    @pytest.mark.parametrize("width", [0.7, 1.0])
    def test_resampled_noise_is_correlated_and_measured(self, likelihood_of, width):
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), width)
        properties = likelihood_of(15 * noise / noise.std()).properties
        assert properties.kind == "correlated"
        assert f"correlated between pixels (as if smoothed by {width:.1f} pixels)" in properties.source
        assert properties.correlation_sigma == pytest.approx(width, abs=0.1)
        assert properties.sigma.item() == pytest.approx(15, rel=0.1)

    def test_faint_details_that_differ_from_place_to_place_are_structure(self, likelihood_of, unequal):
        properties = likelihood_of(unequal).properties
        assert properties.kind == "structured"
        assert properties.correlation_sigma == 0

    @pytest.mark.parametrize("period", [6, 8, 12])
    def test_a_lattice_is_no_noise(self, likelihood_of, period):
        y, x = 2 * np.pi * np.indices((128, 128)) / period
        noise = np.random.default_rng(0).normal(0, 10, (128, 128))
        assert likelihood_of(20 * np.cos(y) * np.cos(x) + noise).properties.kind == "structured"

    def test_correlated_noise_is_drawn_with_its_correlation(self, likelihood_of):
        white = likelihood_of(np.random.default_rng(0).normal(0, 5, (128, 128)))
        likelihood = white.with_properties(replace(white.properties, correlation_sigma=0.7))
        drawn = likelihood.correlate(torch.randn(300, 400, generator=torch.Generator().manual_seed(0)))
        assert drawn.std().item() == pytest.approx(1, abs=0.02)
        for lag, expected in enumerate(autocorrelation(4, 0.7)[1:], start=1):
            correlation = (drawn[:, lag:] * drawn[:, :-lag]).mean().item()
            assert correlation == pytest.approx(np.exp(-((lag / 1.4) ** 2)), abs=0.02)
            assert correlation == pytest.approx(expected, abs=0.02)

    @pytest.mark.parametrize(
        "settings",
        [
            Gaussian(),
            Gaussian(reject_outliers=True),
            Gaussian(censored=True),
            Gaussian(censored=True, reject_outliers=True),
        ],
        ids=["plain", "outliers", "censored", "both"],
    )
    def test_noise_that_is_drawn_to_split_data_has_their_correlation(
        self, make_observation, make_problem, settings
    ):
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), 0.8)
        observation = make_observation(100 + 15 * noise / noise.std())
        problem = make_problem(observation, recipe=Recipe().replace(noise=settings))
        assert problem.likelihood.properties.kind == "correlated"
        first, second = split_noise(problem, None, 0.5, torch.Generator().manual_seed(0))
        for drawn in ((first.y - problem.y) / 0.5, (problem.y - second.y) / 2):
            drawn = drawn[0, 0]
            for neighbor in (drawn[:, 1:] * drawn[:, :-1], drawn[1:] * drawn[:-1]):
                correlation = float(neighbor.mean() / drawn.square().mean())
                assert correlation == pytest.approx(np.exp(-1 / (2 * 0.8) ** 2), abs=0.05)  # 0.677

    @pytest.mark.parametrize("side", [48, 128])
    @pytest.mark.parametrize("factor", [0.01, 0.75, 1.25, 3, 100])
    def test_a_wrong_number_is_noticed_and_kept(self, likelihood_of, factor, side):
        noise = np.random.default_rng(0).normal(0, 20, (side, side))
        properties = likelihood_of(noise, Gaussian(sigma=20 * factor)).properties
        assert properties.sigma.item() == pytest.approx(20 * factor)
        assert properties.measured_ratio == pytest.approx(1 / factor, rel=0.1)
        given, measured = properties.contradiction.split(", but measured as ")
        assert given == f"the noise is given as {20 * factor:.4g}"
        assert float(measured) == pytest.approx(20, rel=0.1)

    @pytest.mark.parametrize("factor", [0.5, 2])
    def test_a_wrong_read_noise_is_noticed_and_kept(self, likelihood_of, factor):
        noise = np.random.default_rng(0).normal(0, 40, (128, 128))
        settings = PoissonGaussian(gain=1.0, read_noise=40 * factor)
        properties = likelihood_of(noise, settings).properties
        assert properties.sigma.item() == pytest.approx(np.hypot(40 * factor, 10), rel=0.05)
        assert properties.measured_ratio * properties.sigma.item() == pytest.approx(40, rel=0.1)

    @pytest.mark.parametrize(("factor", "drawn"), [(0.75, 15), (1, 20), (1.1, 22), (2, 20)])
    @pytest.mark.parametrize("repeated", [False, True])
    def test_no_more_noise_is_drawn_than_there_is(self, likelihood_of, factor, drawn, repeated):
        y = np.random.default_rng(0).normal(0, 20, (128, 128)).astype(np.float32)
        likelihood = likelihood_of(y, Gaussian(sigma=20.0 * factor))
        if repeated:  # of data that have more noise already
            likelihood, drawn = likelihood.of_first_part(0.5), drawn * np.sqrt(1.25)
        data, mean = torch.from_numpy(y)[None, None], torch.zeros(1, 1, 128, 128)
        first, second = likelihood.split(data, mean, 0.5, torch.Generator().manual_seed(0))
        assert float((first - data).std()) == pytest.approx(0.5 * drawn, rel=0.03)
        assert float((data - second).std()) == pytest.approx(2 * drawn, rel=0.03)

    def test_the_given_number_can_be_insisted_on(self, likelihood_of):
        noise = np.random.default_rng(0).normal(0, 20, (128, 128))
        properties = likelihood_of(noise, Gaussian(sigma=40.0, trust_given=True)).properties
        assert properties.split_scale == 1
        assert not properties.contradiction

    def test_a_number_that_agrees_is_not_questioned(self, likelihood_of):
        noise = np.random.default_rng(0).normal(0, 20, (128, 128))
        honest = likelihood_of(noise, Gaussian(sigma=21.0)).properties
        assert honest.sigma.item() == 21
        assert honest.source == "given"
        assert not honest.contradiction

    def test_more_noise_is_that_of_another_likelihood(self, likelihood_of):
        noise, mean = (
            np.random.default_rng(0).normal(0, 20, (128, 128)),
            torch.full((1, 1, 128, 128), 100.0),
        )
        for settings in (Gaussian(sigma=20.0), PoissonGaussian(gain=1.0, read_noise=20.0)):
            likelihood = likelihood_of(noise, settings)
            twice = likelihood.with_scaled_noise(2.0)
            sigma = likelihood.properties.sigma.item()
            assert twice.properties.sigma.item() == pytest.approx(2 * sigma)
            np.testing.assert_allclose(
                twice.random_std(mean), 2 * likelihood.random_std(mean), rtol=1e-5
            )

    @pytest.mark.parametrize("sigma", [1e15, 1e-18])
    def test_a_number_that_cannot_be_true_is_refused(self, likelihood_of, sigma):
        image = np.random.default_rng(0).normal(100, 20, (64, 64))
        with pytest.raises(RestorationError, match=r"units of the image|subtract a constant"):
            likelihood_of(image, Gaussian(sigma=sigma))

    @pytest.mark.parametrize("background", [0, 10_000])
    def test_an_error_plane_made_from_the_data_is_kept(self, make_data, background):
        counts = np.random.default_rng(0).poisson(1000 + background, (128, 128)).astype(float)
        data = make_data(counts - background, sigma=np.sqrt(counts))
        properties = Gaussian().likelihood(data).properties
        assert properties.measured_ratio == 1
        assert properties.median_sigma == pytest.approx(np.sqrt(1000 + background), rel=0.02)

    def test_tiny_errors_are_no_errors(self, make_data):
        rng = np.random.default_rng(0)
        sigma = np.full((64, 64), 5.0)
        sigma[rng.random(sigma.shape) < 0.01] = 1e-20
        properties = Gaussian().likelihood(make_data(rng.normal(0, 5, (64, 64)), sigma=sigma)).properties
        assert np.all(properties.sigma == 5)
        assert "below a thousandth of the median" in properties.source

    def test_an_image_without_noise_is_said_to_have_none(self, make_data):
        y, x = np.mgrid[:96, :96]
        labels = np.hypot(y - 40, x - 50) // 15
        for image in (3.0 * x, 2 * y + x + 0.5, labels, np.where(labels < 2, 100.0, 0), (y + x) % 2):
            properties = Gaussian().likelihood(make_data(image)).properties
            assert not properties.is_measurable
            assert properties.median_sigma == pytest.approx(1e-3 * image.std(), rel=0.5)

    def test_of_single_pixels_the_noise_cannot_be_measured(self, make_data):
        y = np.random.default_rng(0).normal(100, 5, (64, 64))
        y[np.random.default_rng(1).random(y.shape) < 0.95] = np.nan
        assert not Gaussian().likelihood(make_data(y)).properties.is_measurable

    def test_bright_stars_do_not_raise_the_estimate(self):
        y, x = np.mgrid[:96, :96]
        star = 1e6 * np.exp(-((y - 50) ** 2 + (x - 40) ** 2) / 4)
        noise = np.random.default_rng(0).normal(0, 1, star.shape)
        assert estimate_sigma(star + noise) == pytest.approx(1, rel=0.1)

    def test_of_few_pixels_the_structure_is_not_noise(self):
        ramp = np.linspace(0, 100, 20) + np.random.default_rng(0).normal(0, 1, (20, 20))
        assert estimate_sigma(ramp) == pytest.approx(1, rel=0.2)

    @pytest.mark.parametrize("factor", [0.2, 5.0])
    def test_structure_says_nothing_about_the_noise(self, likelihood_of, unequal, factor):
        sigma = factor * float(unequal.std())
        found = likelihood_of(unequal, Gaussian(sigma=sigma)).properties.sigma.item()
        assert found == pytest.approx(sigma)

    def test_noise_that_was_cut_off_corrects_nothing(self, make_data):
        noise = np.random.default_rng(0).normal(0, 40, (128, 128))
        y = np.clip(np.where(np.arange(128) < 64, 20, 235) + noise, 0, 255)
        assert Gaussian(sigma=40.0).likelihood(make_data(y)).properties.source == "given"

    def test_clipped_noise_is_measured_where_it_is_not_clipped(self, make_data):
        light = np.linspace(10, 245, 192)
        y = np.clip(light + np.random.default_rng(0).normal(0, 30, (192, 192)), 0, 255)
        censored = Gaussian(censored=True).likelihood(make_data(y)).properties
        assert censored.sigma.item() == pytest.approx(30, rel=0.08)
        assert Gaussian().likelihood(make_data(y)).properties.sigma.item() < 27

    def test_noise_that_limits_cut_off_is_not_split_but_light_that_they_cut_off_may_be(self, make_data):
        rng = np.random.default_rng(0)
        y, x = np.indices((128, 128))
        star = 100 + 3000 * np.exp(-((y - 60) ** 2 + (x - 50) ** 2) / 200)
        for light, sigma, limits, kind in (
            (np.where(x < 64, 20, 235), 40, (0, 255), "clipped"),
            (star, 10, (-np.inf, 900), "white"),
        ):
            data = make_data(np.clip(light + rng.normal(0, sigma, light.shape), *limits))
            assert Gaussian(sigma=sigma, censored=True).likelihood(data).properties.kind == kind

    def test_both_versions_of_correlated_data_have_independent_noise(self, likelihood_of):
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), 0.7)
        likelihood = likelihood_of(15 * noise / noise.std())
        y = torch.from_numpy(15 * noise / noise.std()).float()[None, None]
        first, second = likelihood.split(y, y, 0.5, torch.Generator().manual_seed(0))
        for down, right in ((0, 0), (0, 1), (1, 1)):
            covariance = (first * second.roll((down, right), (-2, -1))).mean().item()
            assert abs(covariance) < 0.12 * 15**2

    def test_noise_with_outliers_is_heavy_tailed(self, likelihood_of):
        noise = np.random.default_rng(0).standard_t(4, (128, 128))
        assert likelihood_of(noise).properties.kind == "heavy-tailed"

    @pytest.mark.parametrize("light", [0.2, 3, 30])
    def test_photon_noise_is_what_its_model_says(self, make_data, light):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:128, :128]
        scene = light * (1 + (np.hypot(y - 60, x - 50) < 30))
        data = make_data(rng.poisson(scene).astype(float))
        assert Poisson(gain=1.0).likelihood(data).properties.kind == "white"

    def test_it_decides_how_the_data_are_split(self, make_observation, make_problem, unequal):
        rng = np.random.default_rng(0)
        tails, white = rng.standard_t(4, (128, 128)), rng.normal(0, 1, (128, 128))
        correlated = gaussian_filter(white, 0.6)
        recipe, chosen = Recipe(), []
        for noise in (white, correlated, tails, unequal):
            problem = make_problem(make_observation(100 + noise), recipe=recipe)
            method = recipe.self_supervision.select_method(problem, 1)
            monitor = recipe.stopping.monitor(problem, torch.Generator().manual_seed(0))
            all_fitted = torch.equal(monitor.fit_problem.observed, problem.observed)
            chosen.append((method, all_fitted, monitor.noise_probe is not None))
        assert chosen == [
            ("recorrupted", True, True),
            ("recorrupted", True, False),
            ("masked", False, False),
            ("none", False, False),
        ]


@pytest.mark.parametrize("sigma", [15.0, 25.0, 50.0])
@pytest.mark.parametrize("name", ["barbara", "F16_GT"])
def test_texture_is_not_taken_for_noise(data_folder, name, sigma):
    image = imread(data_folder / "natural" / f"{name}.png").astype(float)
    image = (image[..., 1] if image.ndim == 3 else image)[128:384, 128:384]
    noisy = image + np.random.default_rng(1).normal(0, sigma, image.shape)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.03)


def test_a_track_is_detected_up_to_the_edge_of_the_image(make_data):
    frame = np.random.default_rng(0).normal(100, 5, (96, 96))
    track = np.zeros(frame.shape, bool)
    for row in range(80, 96):
        track[row, 30 + row // 4] = True
    frame[track] += 400
    outliers = Gaussian(reject_outliers=True).likelihood(make_data(frame)).outliers[0, 0]
    assert outliers[track].all()
    beside = binary_dilation(track, np.ones((3, 3)))
    assert outliers[~beside].sum() <= 2


class TestTheBeamOfARadioTelescope:
    """Its maps have noise as wide as the beam, of which the smallest scales show nothing."""

    BEAM: ClassVar = {"BMAJ": 5.2 / 3600, "BMIN": 4.3 / 3600, "BUNIT": "JY/BEAM"}

    @pytest.fixture
    def radio_data(self, make_data):
        """Give the data of smooth noise of strength 3 and a source, with pixels of 1 arcsec."""

        def radio_data(cards):
            rng = np.random.default_rng(0)
            noise = gaussian_filter(rng.normal(size=(160, 160)), np.sqrt(5.2 * 4.3) / 2.3548)
            y, x = np.mgrid[:160, :160]
            source = 500 * np.exp(-((y - 80) ** 2 + (x - 70) ** 2) / 60)
            text = fits.Header(cards).tostring(sep="\n")
            header = Header(fits_header=text, pixel_size=dict.fromkeys("YX", (1.0, "arcsec")))
            return make_data(source + 3 * noise / noise.std(), header=header)

        return radio_data

    def test_the_noise_is_found(self, radio_data):
        properties = Gaussian().likelihood(radio_data(self.BEAM)).properties
        assert properties.median_sigma == pytest.approx(3, rel=0.15)
        assert properties.kind == "correlated"
        assert properties.correlation_sigma == pytest.approx(np.sqrt(5.2 * 4.3) / 2.3548, rel=1e-3)
        assert "as wide as the beam" in properties.source

    def test_parts_have_the_noise_of_the_whole(self, radio_data):
        data = radio_data(self.BEAM)
        whole = Gaussian().likelihood(data)
        part = Gaussian().likelihood(data.crop(slice(0, 64), slice(0, 64)), whole).properties
        assert part.median_sigma == whole.properties.median_sigma
        assert part.correlation_sigma == whole.properties.correlation_sigma

    @pytest.mark.parametrize("cards", [{}, {"BMAJ": 1 / 3600, "BMIN": 1 / 3600}, {"BMAJ": 0.1}])
    def test_no_beam_or_a_narrow_one_changes_nothing(self, radio_data, cards):
        assert "beam" not in Gaussian().likelihood(radio_data(cards)).properties.source


def test_the_huber_loss_is_half_the_square_up_to_its_threshold_and_linear_beyond():
    sigmas = torch.tensor([0.0, 1.0, 2.5, 2.9, 3.0, 5.0, 9.0])
    expected = [0, 0.5, 3.125, 4.205, 4.5, 3 * 5 - 4.5, 3 * 9 - 4.5]
    torch.testing.assert_close(huber(0.5 * sigmas**2), torch.tensor(expected))


@pytest.mark.parametrize("power", [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2)])
def test_quiet_blocks_have_no_slope_and_no_curvature(power):
    y, x = np.mgrid[:96, :96] / 96
    surface = 1000 * y ** power[0] * x ** power[1] + np.random.default_rng(0).normal(0, 1, y.shape)
    assert quiet_blocks(surface).std() == pytest.approx(1, abs=0.1)


def test_the_noise_of_samples_that_were_not_taken_is_infinite(make_data):
    y = np.random.default_rng(0).normal(0, 2, (2, 4, 40, 44))
    y[:, :, ::2] = np.nan
    likelihood = KSpace(sigma=2.0).likelihood(make_data(y, "TCYX", keep_times=True))
    std = likelihood.std(torch.zeros(1)).numpy()
    np.testing.assert_array_equal(std, np.where(np.isnan(y), np.inf, 2.0))


@pytest.mark.parametrize("holes", [0.5, 0.95])
def test_noise_that_is_larger_than_the_spread_of_the_image_is_noticed_between_holes(make_data, holes):
    """Where no block is complete, the noise cannot be measured, but the image varies less."""
    y, x = np.mgrid[:64, :64]
    image = 30 + 20 * np.sin(x / 9) + np.random.default_rng(0).normal(0, 5, y.shape)
    image[np.random.default_rng(1).random(y.shape) < holes] = np.nan
    properties = Gaussian(sigma=500.0).likelihood(make_data(image)).properties
    assert properties.measured_ratio * 500 == pytest.approx(np.nanstd(image), rel=0.01)
    assert "given as 500, but measured as 1" in properties.contradiction
    assert not Gaussian(sigma=5.0).likelihood(make_data(image)).properties.contradiction


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "noise is 5.*: subtract a constant from the image"),
        ({"sigma": 5.0}, "noise is 5: give the noise in the units of the image, or subtract a constant"),
    ],
)
def test_values_whose_steps_are_coarser_than_the_noise_are_refused_with_advice(
    make_data, settings, advice
):
    image = 2e7 + np.random.default_rng(0).normal(0, 5, (64, 64))
    with pytest.raises(RestorationError, match=f"steps of 2 in float32, and the {advice}"):
        Gaussian(**settings).likelihood(make_data(image))
