import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from napari_dip import Observation
from napari_dip.core.fit_data import FitData
from napari_dip.datasets import quantitative_head
from napari_dip.physics.noise.rician import (
    Rician,
    estimate_rician_sigma,
    magnitude_std,
    signal_of_magnitude,
)
from napari_dip.physics.signals.t2 import EchoDecay

SIGMA = 7.0


def magnitudes(signal, sigma=SIGMA, seed=0):
    rng = np.random.default_rng(seed)
    return np.hypot(
        signal + sigma * rng.normal(size=signal.shape), sigma * rng.normal(size=signal.shape)
    )


def data_of(image):
    observation = Observation.from_array(image.astype(np.float32), axes="YX")
    return FitData.from_observation(observation)


@pytest.mark.parametrize("signal", [0.0, 0.7, 1.5, 3.0, 8.0, 30.0])
def test_mean_and_deviation_of_magnitudes(signal):
    drawn = magnitudes(np.full((500, 500), signal), sigma=1.0)
    mean = np.array([drawn.mean()])
    assert magnitude_std(mean)[0] == pytest.approx(drawn.std(), rel=0.01)
    assert signal_of_magnitude(mean)[0] == pytest.approx(signal, abs=0.1)


def test_a_mean_below_that_of_noise_alone_has_no_signal():
    assert signal_of_magnitude(np.array([0.0, 1.0])).tolist() == [0, 0]
    assert np.isnan(signal_of_magnitude(np.array([np.nan])))


@pytest.mark.parametrize("side", [48, 128])
@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_the_noise_of_a_head_with_air_is_that_of_the_parts(side, noise):
    head = quantitative_head(EchoDecay(echo_times=(0.01, 0.05, 0.2)), side=side, noise=noise)
    for image in head.images:
        assert estimate_rician_sigma(image) == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize("level", [2, 5, 50])
def test_an_image_without_air_is_not_taken_for_air(level):
    image = magnitudes(np.full((128, 128), level * SIGMA))
    assert estimate_rician_sigma(image) == pytest.approx(SIGMA, rel=0.15)


def test_a_background_that_was_set_to_zero_is_no_air():
    signal = np.zeros((128, 128))
    signal[32:96, 32:96] = 20 * SIGMA
    image = np.where(signal > 0, magnitudes(signal), 0)
    assert estimate_rician_sigma(image) == pytest.approx(SIGMA, rel=0.15)


def test_the_likelihood_knows_the_noise_everywhere_and_finds_no_contradiction():
    head = quantitative_head(EchoDecay(echo_times=(0.01, 0.05, 0.2)))
    data = data_of(head.images[0])
    for sigma in (None, 0.02):
        properties = Rician(sigma=sigma).likelihood(data).properties
        assert properties.contradiction == ""
        far_air = binary_erosion(head.value == 0, np.ones((7, 7)))
        air, tissue = (properties.sigma[0, 0][mask].mean() for mask in (far_air, head.tissue == 1))
        assert tissue == pytest.approx(0.02, rel=0.05)
        assert air == pytest.approx(0.0131, rel=0.05)


def test_the_signal_of_the_mean_of_magnitudes():
    signal = np.repeat([0.0, 2 * SIGMA, 40 * SIGMA], 40)[:, None] * np.ones((1, 120))
    data = data_of(magnitudes(signal))
    mean = np.mean([magnitudes(signal, seed=seed) for seed in range(400)], axis=0)
    found = Rician(sigma=SIGMA).signal_of_mean(mean[None, None].astype(np.float32), data)[0, 0]
    assert np.abs(found[40:] - signal[40:]).max() < 2  # 0.3 of the noise; the mean has 0.05 itself
    assert found[:40].mean() < 0.5 * SIGMA


def test_drawn_magnitudes_are_distributed_as_the_measured_ones():
    signal = np.repeat([0.0, 2 * SIGMA, 40 * SIGMA], 200)[:, None] * np.ones((1, 600))
    bands = magnitudes(signal).reshape(3, 200, 600).mean(axis=(1, 2))
    mean = np.repeat(bands, 200)[:, None] * np.ones((1, 600))
    rng = np.random.default_rng(5)
    drawn = Rician(sigma=SIGMA).draw(
        mean[None, None].astype(np.float32),
        np.full((1, 1, 600, 600), np.nan, np.float32),
        data_of(magnitudes(signal)),
        lambda: rng.normal(size=(1, 1, 600, 600)).astype(np.float32),
    )[0, 0]
    other = magnitudes(signal, seed=77)
    for rows in (slice(200), slice(200, 400), slice(400, 600)):
        assert drawn[rows].mean() == pytest.approx(other[rows].mean(), rel=0.02)
        assert drawn[rows].std() == pytest.approx(other[rows].std(), rel=0.02)
