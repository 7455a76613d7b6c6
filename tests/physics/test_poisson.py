"""Photon noise, limits and outliers: each likelihood against what it has to be."""

import numpy as np
import pytest
import torch
from astropy.io import fits
from scipy.ndimage import binary_dilation
from scipy.stats import norm, poisson

from napari_dip import Header, KSpace, read, restore
from napari_dip.core.errors import SettingsError
from napari_dip.core.fit_data import iter_planes
from napari_dip.physics.detector import Detector
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.physics.noise.poisson import Poisson, PoissonGaussian


@pytest.fixture
def ccd_data(make_data):
    """Make the data of a CCD image, with some cards in its header."""

    def ccd_data(y, *, unit="adu", **cards):
        header = fits.Header()
        for keyword, value in cards.items():
            header[keyword] = value
        text = header.tostring(sep="\n", endcard=False, padding=False)
        return make_data(y, header=Header(path="frame.fits", unit=unit, fits_header=text))

    return ccd_data


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array, np.float32)) for array in arrays]


def test_the_poisson_likelihood_is_the_poisson_likelihood(make_data):
    rng = np.random.default_rng(0)
    k = np.maximum(rng.poisson(9, (1, 1, 40, 40)), 1)
    m = rng.uniform(2, 20, k.shape)
    noise = Poisson(gain=1.0, offset=0.0, relative_error=0).likelihood(make_data(k[0, 0]))
    found = noise.nll(*tensors(m, k)).numpy()
    expected = poisson(k).logpmf(k) - poisson(m).logpmf(k)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_gain_and_offset_only_change_the_unit(make_data):
    rng = np.random.default_rng(0)
    k = rng.poisson(30, (1, 1, 40, 40))
    m = rng.uniform(20, 40, k.shape)
    counts = Poisson(gain=1.0, relative_error=0).likelihood(make_data(k[0, 0]))
    adu = Poisson(gain=4.0, offset=100.0, relative_error=0).likelihood(make_data(k[0, 0] / 4 + 100))
    np.testing.assert_allclose(
        adu.nll(*tensors(m / 4 + 100, k / 4 + 100)), counts.nll(*tensors(m, k)), rtol=1e-2, atol=2e-3
    )


@pytest.mark.parametrize(("light", "read_noise"), [(0.5, 3.0), (5.0, 1.0), (200.0, 5.0), (3.0, 0.0)])
def test_the_photon_likelihood_is_least_at_the_true_mean(make_data, light, read_noise):
    rng = np.random.default_rng(1)
    y = rng.poisson(light, (300, 300)) + rng.normal(0, read_noise, (300, 300))
    noise = PoissonGaussian(gain=1.0, offset=0.0, read_noise=read_noise, relative_error=0).likelihood(
        make_data(y)
    )
    mean = torch.full((1, 1, 1, 1), light, requires_grad=True)
    noise.nll(mean, *tensors(y[None, None])).sum().backward()
    # The score's own scatter is the root of the Fisher information, N / (light + read noise^2).
    scatter = np.sqrt(y.size / (light + read_noise**2))
    assert abs(float(mean.grad)) < 4 * scatter


@pytest.mark.parametrize("k", [-10.0, 0.0, 0.5, 40.0])
def test_no_mean_is_better_than_the_data_themselves(make_data, k):
    y = np.full((32, 32), k) + np.random.default_rng(0).normal(0, 0.01, (32, 32))
    noise = PoissonGaussian(gain=1.0, offset=0.0, read_noise=2.0, relative_error=0).likelihood(
        make_data(y)
    )
    means = torch.linspace(-30, 80, 500)
    nll = torch.stack([noise.nll(m, *tensors(y[None, None])).mean() for m in means])
    assert nll.min() > -1e-4
    assert torch.isfinite(nll).all()
    assert float(means[nll.argmin()]) == pytest.approx(k, abs=0.3)


def test_censored_pixels_are_one_sided(make_data):
    y = np.random.default_rng(0).normal(90, 10, (64, 64)).clip(None, 100)
    noise = Gaussian(sigma=10.0, relative_error=0, censored=True).likelihood(make_data(y))
    assert "; saturation 100 censored" in noise.properties.source
    assert "lower limit" not in noise.properties.source
    mean = np.full(y.shape, 104.0)
    found = noise.nll(*tensors(mean[None, None], y[None, None]))[0, 0].numpy()
    full = y >= 100
    np.testing.assert_allclose(found[full], -norm(104, 10).logsf(100), rtol=1e-4)
    np.testing.assert_allclose(found[~full], 0.5 * ((y - 104) / 10)[~full] ** 2, rtol=1e-4)


def test_clipped_noise_is_not_biased_where_it_is_censored(make_data):
    rng = np.random.default_rng(0)
    y = np.clip(rng.normal(5, 20, (200, 200)), 0, 255)
    mean = torch.tensor(0.0).expand(1, 1, 200, 200)
    found = []
    for censored in (False, True):
        noise = Gaussian(sigma=20.0, relative_error=0, censored=censored).likelihood(make_data(y))
        levels = torch.linspace(0, 20, 201)
        nll = [noise.nll(mean + level, *tensors(y[None, None])).sum() for level in levels]
        found.append(float(levels[int(torch.stack(nll).argmin())]))
    assert abs(found[1] - 5) < 0.5 < abs(found[0] - 5)


def test_a_limit_is_the_header_s_if_it_is_lower(ccd_data):
    y = np.random.default_rng(0).normal(100, 10, (64, 64))
    noise = Gaussian(censored=True).likelihood(ccd_data(y, SATURATE=110.0))
    assert "; saturation 110 censored" in noise.properties.source


def test_a_maximum_that_one_pixel_has_is_no_limit(make_data):
    y = np.random.default_rng(0).normal(100, 10, (64, 64))
    properties = Gaussian(censored=True).likelihood(make_data(y)).properties
    assert "no limit censored" in properties.source
    assert properties.limits == (-np.inf, np.inf)


def test_outliers_pull_with_a_force_that_does_not_grow(make_data):
    y = np.random.default_rng(0).normal(0, 1, (64, 64))
    noise = Gaussian(sigma=1.0, relative_error=0, reject_outliers=True).likelihood(make_data(y))
    for far, force in ((1.0, 1.0), (5.0, 3.0), (500.0, 3.0)):
        mean = torch.zeros(1, 1, 64, 64, requires_grad=True)
        noise.nll(mean, torch.full((1, 1, 64, 64), far)).sum().backward()
        assert float(mean.grad[0, 0, 0, 0]) == pytest.approx(-force, rel=1e-4)


class TestOutliers:
    @pytest.fixture
    def field(self):
        """Stars of FWHM 2.6 pixels over noise, hot pixels and a track; and where those are."""
        rng = np.random.default_rng(2)
        y, x = np.mgrid[:96, :96].astype(float)
        image = rng.normal(100, 5, y.shape)
        for row, column in rng.uniform(6, 90, (40, 2)):
            light = 10 ** rng.uniform(2, 4)
            image += light * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.1**2))
        rays = np.zeros(y.shape, bool)
        rays[rng.integers(4, 92, 12), rng.integers(4, 92, 12)] = True
        rays[np.arange(40, 60), np.arange(20, 40)] = True
        return image + np.where(rays, rng.uniform(300, 3000, y.shape), 0), rays

    @pytest.mark.parametrize("unit", [1.0, 1e-20])
    def test_rays_are_rejected_and_stars_are_not(self, make_data, field, unit):
        image, rays = field
        likelihood = Gaussian(reject_outliers=True).likelihood(make_data(unit * image))
        rejected = likelihood.outliers[0, 0]
        assert rejected[rays].mean() > 0.9
        assert rejected[~binary_dilation(rays, np.ones((3, 3)))].mean() < 0.002
        assert f"{rejected.sum():,} outlying pixels rejected" in likelihood.properties.source

    def test_the_rim_of_a_track_goes_with_it_and_that_of_a_hot_pixel_stays(self, make_data):
        image = np.random.default_rng(0).normal(100, 5, (96, 96))
        image[20, 20:40] += 2000
        image[60, 60] += 2000
        frame = make_data(image)
        rejected = Gaussian(reject_outliers=True).likelihood(frame).outliers[0, 0]
        assert rejected[19:22, 19:41].all()
        assert rejected[60, 60]
        assert rejected[55:66, 55:66].sum() < 4

    def test_they_are_missing_from_the_fit_and_marked_as_inpainted(
        self, field, make_observation, fast_recipe
    ):
        image, rays = field
        recipe = fast_recipe.with_settings({"noise.reject_outliers": True})
        result = restore(make_observation(image), recipe)
        assert result.inpainted[rays].mean() > 0.9
        assert np.isnan(result.residual[result.inpainted]).all()

    def test_where_nearly_everything_is_sharp_nothing_is_rejected(self, make_data):
        rng = np.random.default_rng(0)
        image = rng.normal(100, 1, (96, 96)) + 500 * (rng.random((96, 96)) < 0.1)
        likelihood = Gaussian(sigma=1.0, reject_outliers=True).likelihood(make_data(image))
        assert likelihood.outliers is None
        assert "undersampled, nothing rejected" in likelihood.properties.source


class TestDetector:
    y = np.random.default_rng(0).normal(100, 10, (64, 64))

    @pytest.mark.parametrize(
        ("unit", "cards", "gain"),
        [
            ("adu", {"GAIN": 1.9}, 1.9),
            ("adu", {"GAIN": 139, "EGAIN": 0.25}, 0.25),  # a camera's dial beside the truth
            ("adu", {"GAIN": 139}, None),
            ("adu", {"GAIN": 0.0}, None),
            ("adu", {"GAIN": "high"}, None),
            ("adu", {"HIERARCH ESO DET OUT1 CONAD": 1.8}, 1.8),
            ("electron", {"GAIN": 4.0}, 1.0),
            ("adu/s", {"GAIN": 2.0, "EXPTIME": 30.0}, 60.0),
            ("electron/s", {"EXPTIME": 30.0}, 30.0),
            ("adu", {"GAIN": 2.0, "NCOMBINE": 4}, 8.0),
            ("MJy/sr", {"GAIN": 3.7}, None),
        ],
    )
    def test_gain(self, ccd_data, unit, cards, gain):
        found = detector_of(ccd_data(self.y, unit=unit, **cards)).gain
        assert found == (None if gain is None else pytest.approx(gain))

    def test_the_overscan_is_the_offset_if_the_frame_is_whole(self, ccd_data):
        y = self.y.copy()
        y[:, 56:] = 20 + np.random.default_rng(1).normal(0, 1, (64, 8))
        cards = {"NAXIS": 2, "NAXIS1": 64, "NAXIS2": 64, "BIASSEC": "[57:64,1:64]"}
        assert detector_of(ccd_data(y, **cards)).offset == pytest.approx(20, abs=0.5)
        assert detector_of(ccd_data(y, **{**cards, "NAXIS1": 128})).offset is None

    def test_nothing_is_known_of_a_detector_without_a_header(self, make_data):
        assert detector_of(make_data(self.y)) == Detector()


def detector_of(data):
    return Detector.from_header(data.header, data.y)


def ccd(gain, seed=0, light=400.0):
    rng = np.random.default_rng(seed)
    return (rng.poisson(light, (128, 128)) + rng.normal(0, 5, (128, 128))) / gain


def test_a_header_that_is_true_is_used_and_shown(ccd_data):
    noise = PoissonGaussian().likelihood(ccd_data(ccd(1.9), GAIN=1.9, RDNOISE=5.0))
    assert noise.properties.source.startswith("header: gain 1.9, read noise 5")
    assert noise.properties.sigma.item() == pytest.approx(np.sqrt(425) / 1.9, rel=0.05)


def test_a_header_that_lies_is_noticed(ccd_data):
    noise = PoissonGaussian().likelihood(ccd_data(ccd(1.9), GAIN=8.0, RDNOISE=5.0))
    assert "the image contradicts its header" in noise.properties.source
    assert noise.properties.header_rejected
    assert noise.properties.sigma.item() == pytest.approx(np.sqrt(425) / 1.9, rel=0.05)


def test_settings_count_more_than_a_measurement(ccd_data):
    noise = PoissonGaussian(gain=8.0, read_noise=5.0).likelihood(ccd_data(ccd(1.9), GAIN=1.9))
    assert noise.properties.source.startswith("given: gain 8")


def test_photon_noise_without_a_gain_is_refused(make_data):
    with pytest.raises(SettingsError, match=r"give noise\.gain in electrons per data unit"):
        Poisson().likelihood(make_data(ccd(1.0)))


def test_the_real_frame_s_header_agrees_with_its_noise(data_folder):
    image = read(data_folder / "astronomy" / "saao_ccd_a8280271.fits")
    (_, plane), *_ = iter_planes(image)
    noise = PoissonGaussian().likelihood(plane)
    assert noise.properties.source.startswith("header: gain 1.9, read noise 5")
    expected, measured = (
        float(noise.properties.source.split(word)[1].split(",")[0])
        for word in ("expected ", "measured ")
    )
    assert expected == pytest.approx(measured, rel=0.1)


def test_a_dark_image_of_few_photons_is_restored(make_observation, fast_recipe):
    y, x = np.mgrid[:64, :64]
    star = 40 * np.exp(-((y - 30) ** 2 + (x - 34) ** 2) / 8)
    counts = np.random.default_rng(0).poisson(star).astype(float)
    assert (counts == 0).mean() > 0.9
    recipe = fast_recipe.with_settings(
        {"noise.kind": "poisson", "noise.gain": 1.0, "refinement.patch_method": "nonlocal-bayes"}
    )
    assert np.isfinite(restore(make_observation(counts), recipe).image).all()
    several = restore(make_observation(counts), recipe.with_settings({"ensemble.size": 2}))
    assert np.isfinite(several.image).all()
    assert np.isfinite(several.uncertainty).all()


@pytest.mark.parametrize(
    "options", [{}, {"censored": True, "reject_outliers": True}], ids=["", "wrapped"]
)
@pytest.mark.parametrize(
    "noise",
    [Gaussian(), Poisson(gain=1.0), PoissonGaussian(gain=1.0, read_noise=3.0), KSpace()],
    ids=lambda noise: noise.kind,
)
def test_a_likelihood_moves_to_a_device_with_all_its_tensors(make_data, tensors_in, noise, options):
    y = np.random.default_rng(0).poisson(9, (48, 48)).astype(float)
    likelihood = noise.model_copy(update=options).likelihood(make_data(y))
    before = tensors_in(likelihood)
    moved = tensors_in(likelihood.to(torch.device("meta")))
    assert len(moved) == len(before) >= (4 if options and noise.kind != "k-space" else 2)
    assert {tensor.device.type for tensor in moved} == {"meta"}
    assert {tensor.device.type for tensor in before} == {"cpu"}


@pytest.mark.parametrize(("mean", "peak"), [(0.02, 20), (0.3, 20), (1.0, 20), (0.5, 500)])
def test_photon_counts_that_are_mostly_0_have_poisson_noise(make_data, mean, peak):
    y, x = np.mgrid[:96, :96]
    light = mean * (1 + peak * np.exp(-((y - 40) ** 2 + (x - 50) ** 2) / 60))
    counts = np.random.default_rng(0).poisson(light).astype(float)
    likelihood = Gaussian().likelihood(make_data(counts))
    assert likelihood.is_photon_count
    assert likelihood.properties.sigma.dtype == np.float32
    assert likelihood.properties.source.startswith("photon counts, most of them 0")
    assert likelihood.properties.kind == "white"
    assert not likelihood.properties.contradiction


def test_other_whole_numbers_have_not(make_data):
    y, x = np.mgrid[:96, :96]
    labels = np.hypot(y - 40, x - 50) // 15 % 3
    clipped = np.maximum(np.random.default_rng(0).normal(0, 20, y.shape), 0).round()
    repeated = np.random.default_rng(0).poisson(0.7, (48, 48)).repeat(2, 0).repeat(2, 1)
    for image in (labels, clipped, (y + x) % 2, 7 * ((x // 4) % 2), repeated):
        assert not Gaussian().likelihood(make_data(image)).is_photon_count
    counts = np.random.default_rng(0).poisson(1.0, y.shape)
    assert not Gaussian(sigma=1.0).likelihood(make_data(counts)).is_photon_count


def test_drawn_photon_counts_are_counts_with_the_same_distribution(make_data):
    rng = np.random.default_rng(0)
    mean = np.repeat([0.3, 4.0, 60.0], 4000).reshape(1, 1, 60, 200)
    data = make_data(rng.poisson(mean)[0, 0])
    noise = Poisson(gain=1.0, offset=0.0)

    def draw_unit():
        return rng.normal(size=mean.shape).astype(np.float32)

    drawn = noise.draw(mean.astype(np.float32), np.sqrt(mean), data, draw_unit)
    np.testing.assert_array_equal(drawn, np.rint(drawn))
    for rows in (slice(20), slice(20, 40), slice(40, 60)):
        part, expected = drawn[0, 0, rows], mean[0, 0, rows].mean()
        assert part.min() >= 0
        assert part.mean() == pytest.approx(expected, rel=0.06)
        assert part.var() == pytest.approx(expected, rel=0.08)
    scaled = make_data(rng.poisson(mean)[0, 0] * 0.7 + 0.123)
    gaussian = Poisson(gain=1.0, offset=0.0).draw(mean, np.sqrt(mean), scaled, draw_unit)
    assert np.abs(gaussian - np.rint(gaussian)).max() > 0.1
