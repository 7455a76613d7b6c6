"""Quality "instant": similar patches, and no network."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip import Observation, Recipe, SettingsError, restore
from napari_dip.run.forecast import RunEstimator

SIGMA = 10.0
INSTANT = Recipe.preset("denoise").with_quality("instant")


@pytest.fixture
def scene():
    """(64, 72) float between 0 and 200: stripes, blobs, and a flat half."""
    y, x = np.mgrid[:64, :72]
    blobs = gaussian_filter(np.random.default_rng(0).normal(0, 1, y.shape), 3)
    return np.where(x < 36, 100 + 60 * np.sin(0.5 * x + 0.3 * y), 100 + 300 * blobs)


@pytest.fixture
def noisy(scene):
    return scene + np.random.default_rng(1).normal(0, SIGMA, scene.shape)


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def test_an_image_is_denoised_without_a_network(scene, noisy):
    result = restore(Observation.from_array(noisy, axes="YX"), INSTANT)
    assert rms(result.image - scene) < 0.6 * SIGMA
    assert result.steps == 0
    assert str(result.assessment) == "good"
    assert "patches only, no network, in " in result.summary
    assert "as network input" not in result.summary
    np.testing.assert_allclose(result.residual, noisy - result.image, atol=1e-4)
    again = restore(Observation.from_array(noisy, axes="YX"), INSTANT.with_settings({"seed": 5}))
    np.testing.assert_array_equal(result.image, again.image)


def test_by_the_shortest_way(scene, noisy):
    assert rms(dip.denoise(noisy, quality="instant") - scene) < 0.6 * SIGMA


def test_channels_and_planes(scene, noisy):
    color = np.stack([noisy, noisy[::-1], 0.5 * noisy], axis=-1)
    result = restore(Observation.from_array(color, axes="YXC"), INSTANT)
    assert rms(result.image[..., 0] - scene) < 0.6 * SIGMA
    stack = restore(Observation.from_array(np.stack([noisy, noisy[::-1]]), axes="ZYX"), INSTANT)
    alone = restore(Observation.from_array(noisy[::-1], axes="YX"), INSTANT)
    np.testing.assert_allclose(stack.image[1], alone.image, rtol=1e-5)


def test_single_missing_pixels_are_filled(scene, noisy):
    holes = np.random.default_rng(2).random(scene.shape) < 0.02
    result = restore(Observation.from_array(noisy, axes="YX", mask=holes), INSTANT)
    assert rms((result.image - scene)[holes]) < 1.2 * SIGMA
    assert result.inpainted.sum() == holes.sum()


@pytest.mark.parametrize(
    ("preset", "changes", "reason"),
    [
        ("inpaint", {}, "observed pixels are to stay as they are"),
        ("super-resolution", {}, "the operator is not the identity"),
        ("time-series", {}, "planes are restored jointly"),
        ("denoise", {"ensemble.size": 2}, "an ensemble needs fits of a network"),
        ("denoise", {"noise.kind": "poisson", "noise.gain": 1}, "fewer than about four photons"),
    ],
)
def test_what_patches_cannot_do_is_refused_with_the_reason(preset, changes, reason, noisy):
    data = np.stack([noisy] * 3) if preset == "time-series" else noisy
    if "noise.kind" in changes:
        data = np.random.default_rng(3).poisson(np.full(noisy.shape, 0.3))
    observation = Observation.from_array(data, axes="TYX"[-data.ndim :])
    recipe = Recipe.preset(preset).with_quality("instant").with_settings(changes)
    with pytest.raises(SettingsError, match=reason):
        restore(observation, recipe)


def test_too_many_missing_pixels_are_refused(noisy):
    holes = np.random.default_rng(2).random(noisy.shape) < 0.7
    with pytest.raises(SettingsError, match="70% of the pixels are missing"):
        restore(Observation.from_array(noisy, axes="YX", mask=holes), INSTANT)


def test_the_forecast_is_that_of_patches(noisy):
    estimate = RunEstimator().estimate(INSTANT, Observation.from_array(noisy, axes="YX"))
    usual = RunEstimator().estimate(Recipe.preset("denoise"), Observation.from_array(noisy, axes="YX"))
    assert 0 < estimate.seconds == estimate.max_seconds < usual.seconds


def test_a_star_keeps_its_flux():
    y, x = np.mgrid[:96, :96]
    star = 40 * np.exp(-((y - 48) ** 2 + (x - 50) ** 2) / 4)
    data = 100 + star + np.random.default_rng(4).normal(0, 8, y.shape)
    result = restore(Observation.from_array(data, axes="YX"), INSTANT)
    near = np.hypot(y - 48, x - 50) < 6
    change = (result.image - data)[near].sum()
    assert abs(change) < 2 * 8 * np.sqrt(near.sum())
    assert "missed flux of small sources added back" in result.summary
