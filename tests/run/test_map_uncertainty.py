"""The error of maps, from maps of simulated data."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.core.torch_import import torch
from napari_dip.run.map_uncertainty import map_uncertainty
from napari_dip.run.result_canvases import ResultCanvases
from napari_dip.run.simulation import Simulation
from napari_dip.run.tiles.planner import TilePlanner
from napari_dip.run.tiles.tiled_fit import TiledFit, next_progress
from napari_dip.run.warm_start import WarmStart

RNG = np.random.default_rng(0)
SHAPE = (2, 96, 96)
UNKNOWN = np.zeros(SHAPE, bool)
UNKNOWN[0, :20] = True


def noise(std=1.0):
    return std * RNG.normal(size=SHAPE)


def finished_block(recipe, image):
    """The fit to the only block of an image, finished, and its data."""
    observation = dip.Observation.from_array(image, axes="YX")
    _, data = next(iter(recipe.stack.iter_blocks(observation, combines_time=False)))
    block = TiledFit(recipe, data, TilePlanner(torch.device("cpu")), WarmStart(recipe))
    fits = block.run(None)
    while next_progress(fits, None) is not None:
        pass
    return block, data


def simulation_of(recipe, image):
    """The simulation of a run on an image."""
    observation = dip.Observation.from_array(image, axes="YX")
    return Simulation(recipe, ResultCanvases(observation, observation, recipe, None, None))


def test_the_error_is_that_of_the_simulated_map_and_follows_the_bound():
    bound = np.where(np.arange(96) < 48, 1.0, 4.0) * np.ones(SHAPE)
    value = np.full(SHAPE, 100.0)
    simulated = np.where(UNKNOWN, np.nan, value + 0.3 * bound * noise())
    found = map_uncertainty(value, simulated, bound, None, spread=0.0)
    np.testing.assert_array_equal(np.isnan(found), UNKNOWN)
    for part in (np.s_[1, :, :40], np.s_[1, :, 56:]):
        assert np.sqrt(np.mean(found[part] ** 2)) == pytest.approx(0.3 * bound[part][0, 0], rel=0.1)
    alone = map_uncertainty(value, simulated, bound, None, spread=0.5)
    np.testing.assert_allclose(alone, found / np.sqrt(1.5))


def test_detail_that_the_map_has_lost_counts_where_the_map_has_gradients():
    """The simulated data lack it; the residual of the measured ones has it."""
    steep = np.arange(96) % 24 < 8
    value = 100 + gaussian_filter(np.where(steep, 40.0, 0.0) * np.ones(SHAPE), (0, 1, 1))
    edges = np.hypot(*np.gradient(value, axis=(1, 2))) > 3
    lost = np.where(edges, 0.8, 0) * np.sign(noise())
    simulated, ones = value + noise(0.2), np.ones(SHAPE)
    none = map_uncertainty(value, simulated, ones, (noise(), noise()), spread=0.0)
    found = map_uncertainty(value, simulated, ones, (noise() + lost, noise()), spread=0.0)
    truth = np.sqrt(0.2**2 + lost**2)
    assert np.median(none) == pytest.approx(0.2, rel=0.15)
    assert np.median(found[edges]) == pytest.approx(truth[edges].mean(), rel=0.25)
    flat = gaussian_filter(edges.astype(float), (0, 3, 3)) < 0.01
    assert not flat.any() or np.median(found[flat]) == pytest.approx(0.2, rel=0.15)
    holes = noise() + lost
    holes[1, 50, 50] = np.nan  # a pixel that was rejected
    again = map_uncertainty(value, simulated, ones, (holes, noise()), spread=0.0)
    assert np.isfinite(again).all()
    assert np.median(again[edges]) > 1.3 * np.median(none[edges])
    nowhere = map_uncertainty(np.full(SHAPE, 9.0), 9 + noise(0.2), ones, (3 * noise(), noise()), 0.0)
    assert np.median(nowhere) == pytest.approx(0.2, rel=0.15)


def test_simulated_data_have_the_noise_of_the_measured_ones_with_its_correlation():
    rows, columns = np.mgrid[:128, :128] / 128
    scene = 100 + 20 * np.sin(6 * rows) * np.cos(5 * columns)
    smooth = gaussian_filter(np.random.default_rng(1).normal(size=scene.shape), 1.0, mode="wrap")
    measured = (scene + 4 * smooth / smooth.std()).astype(np.float32)
    measured[5, 7] = np.nan
    recipe = dip.Recipe.preset("denoise").with_settings(
        {"solver.max_steps": 30, "stopping.kind": "fixed", "compute.device": "cpu"}
    )
    block, data = finished_block(recipe, measured)
    simulation = simulation_of(recipe, measured)
    drawn = simulation.simulate(block, data, 0)
    mean = (data.y - block.canvases.residual.planes)[0, 0]
    new = (drawn.y[0, 0] - mean)[10:, 10:]
    assert new.std() == pytest.approx(4, rel=0.15)
    along = np.mean(new[1:] * new[:-1]) / new.var()
    expected = np.exp(-1 / 4)  # of a Gaussian of 1 pixel, one pixel apart
    assert along == pytest.approx(expected, abs=0.1)
    assert abs(np.corrcoef(new.ravel(), (data.y[0, 0] - mean)[10:, 10:].ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(np.isnan(drawn.y), np.isnan(data.y))
    other = (simulation.simulate(block, data, 1).y[0, 0] - mean)[10:, 10:]  # the next block
    assert abs(np.corrcoef(new.ravel(), other.ravel())[0, 1]) < 0.1


def test_the_noise_of_simulated_data_is_unknown_to_their_fit():
    """Pixels are held out by random numbers, which must not be those of the noise."""
    recipe = dip.Recipe.preset("denoise").with_settings(
        {"solver.max_steps": 5, "stopping.kind": "fixed", "compute.device": "cpu", "noise.sigma": 4.0}
    )
    image = 100 + np.random.default_rng(1).normal(0, 4, (128, 128)).astype(np.float32)
    block, data = finished_block(recipe, image)
    simulation = simulation_of(recipe, image)
    noise = (simulation.simulate(block, data, 0).y - data.y + block.canvases.residual.planes).ravel()
    for seed in (recipe.seed, simulation.recipe.seed):
        for draw in (torch.rand, torch.randn):
            numbers = draw(noise.shape, generator=torch.Generator().manual_seed(seed)).numpy()
            for shift in range(-4, 5):
                assert abs(np.corrcoef(noise, np.roll(numbers, shift))[0, 1]) < 0.05
                assert abs(np.corrcoef(abs(noise), np.roll(numbers, shift))[0, 1]) < 0.05
