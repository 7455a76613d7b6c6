"""An image between the data and the restoration, and how sure it is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_dip import Observation, Recipe, SettingsError, restore

SIGMA = 10.0
INSTANT = Recipe.preset("denoise").with_quality("instant")


@pytest.fixture
def noisy():
    """(48, 52) float32 around 100, with noise of 10."""
    rng = np.random.default_rng(0)
    scene = 100 + 300 * gaussian_filter(rng.normal(0, 1, (48, 52)), 3)
    return (scene + rng.normal(0, SIGMA, scene.shape)).astype("f4")


@pytest.fixture
def result(noisy):
    holes = np.zeros(noisy.shape, bool)
    holes[20, 20:23] = True
    return restore(Observation.from_array(noisy, axes="YX", mask=holes), INSTANT)


def test_0_gives_the_data_and_1_the_restoration_bit_for_bit(noisy, result):
    known = ~result.inpainted
    np.testing.assert_array_equal(result.at_strength(0).image[known], noisy[known])
    np.testing.assert_array_equal(result.at_strength(1).image, result.image)


def test_a_part_of_what_was_removed_comes_back(noisy, result):
    softer = result.at_strength(0.7)
    known = ~result.inpainted
    expected = 0.7 * result.image + 0.3 * noisy
    np.testing.assert_allclose(softer.image[known], expected[known], rtol=1e-6)
    np.testing.assert_array_equal(softer.image[~known], result.image[~known])
    np.testing.assert_allclose(softer.residual, 0.7 * result.residual, rtol=1e-6)


def test_the_strength_of_a_recipe_is_that_of_the_result(noisy, result):
    holes = result.inpainted
    observation = Observation.from_array(noisy, axes="YX", mask=holes)
    direct = restore(observation, INSTANT.replace(strength=0.7))
    np.testing.assert_array_equal(direct.image, result.at_strength(0.7).image)
    for softer in (direct, result.at_strength(0.7)):
        assert softer.provenance.recipe["strength"] == 0.7
        assert "strength 0.7, with a part of what was removed" in softer.summary
    assert "strength" not in result.summary


def test_the_uncertainty_follows(noisy, fast_settings):
    recipe = Recipe.preset("denoise").with_settings({**fast_settings, "ensemble.size": 2})
    result = restore(Observation.from_array(noisy, axes="YX"), recipe)
    half, data = result.at_strength(0.5), result.at_strength(0)
    np.testing.assert_allclose(data.uncertainty, result.noise_std, rtol=1e-6)
    expected = np.sqrt(0.75 * result.uncertainty**2 + 0.25 * result.noise_std**2)
    np.testing.assert_allclose(half.uncertainty, expected, rtol=1e-5)


@pytest.mark.parametrize("axes", ["TYX", "YXC"])
def test_stacks_and_channels(noisy, axes):
    data = np.stack([noisy, noisy[::-1]], axis=axes.find("C") if "C" in axes else 0)
    result = restore(Observation.from_array(data, axes=axes), INSTANT)
    np.testing.assert_array_equal(result.at_strength(0).image, data)


def test_what_has_no_strength_is_refused(noisy, result):
    with pytest.raises(SettingsError, match="choose a number from 0 to 1"):
        result.at_strength(1.5)
    with pytest.raises(SettingsError, match=r"has a strength of 0\.5: start from the restoration"):
        result.at_strength(0.5).at_strength(0.8)
    recipe = Recipe.preset("super-resolution").replace(strength=0.5)
    with pytest.raises(SettingsError, match="leave the strength at 1"):
        restore(Observation.from_array(noisy, axes="YX"), recipe)
