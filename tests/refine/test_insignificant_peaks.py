"""Peaks that the data do not confirm go; stars and fluxes stay."""

import numpy as np
import pytest
import torch

from napari_dip.refine.insignificant_peaks import flatten_insignificant_peaks

SIGMA = 8.0
STAR, CHANCE = (40, 40), (40, 60)
SETTINGS = {"noise.sigma": SIGMA, "noise.relative_error": 0, "noise.trust_given": True}


def spot(place, height, side=96):
    y, x = np.mgrid[:side, :side]
    return height * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * 1.3**2))


def scene(image):
    return torch.from_numpy(np.asarray(image)[None]).float()


def height(x, place):
    return float(x[0, *place] - x.median())


@pytest.fixture
def problem_of(make_observation, make_problem):
    return lambda image: make_problem(make_observation(image), SETTINGS)


@pytest.fixture
def noise():
    return np.random.default_rng(3).normal(0, SIGMA, (96, 96))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_peak_that_the_data_do_not_show_is_flattened_and_a_star_stays(sign, noise, problem_of):
    problem = problem_of(100 + spot(STAR, 60) + noise)
    estimate = scene(100 + spot(STAR, 55) + sign * spot(CHANCE, 3))
    flat = flatten_insignificant_peaks(estimate, problem)
    assert height(estimate, CHANCE) == pytest.approx(3 * sign, rel=1e-3)
    assert abs(height(flat, CHANCE)) < 0.5
    assert height(flat, STAR) == pytest.approx(55, rel=0.01)
    assert float(flat.sum()) == pytest.approx(float(estimate.sum()), rel=1e-6)


def test_a_faint_star_that_the_data_show_stays(noise, problem_of):
    # Six sigmas in its own shape, and lower than two in any pixel.
    faint = spot(CHANCE, 6 * SIGMA / (1.3 * np.sqrt(np.pi)))
    image = 100 + faint + noise
    flat = flatten_insignificant_peaks(scene(100 + faint), problem_of(image))
    assert height(flat, CHANCE) > 0.9 * faint.max()


def test_where_nothing_is_observed_peaks_are_left_alone(noise, problem_of):
    image = 100 + spot(STAR, 60) + spot(CHANCE, 60) + noise
    image[30:50, 50:70] = np.nan
    flat = flatten_insignificant_peaks(scene(100 + spot(STAR, 55) + spot(CHANCE, 5)), problem_of(image))
    assert height(flat, STAR) > 50
    assert height(flat, CHANCE) == pytest.approx(5, rel=1e-3)


def test_parts_of_an_image_are_processed_alone(noise, problem_of):
    image = (
        100 + sum(spot(place, 40) for place in np.random.default_rng(4).uniform(0, 96, (8, 2))) + noise
    )
    estimate = torch.nn.functional.avg_pool2d(scene(image), 5, stride=1, padding=2)
    whole = flatten_insignificant_peaks(estimate, problem_of(image))
    assert (whole - estimate).abs().max() > 0.5
    part = flatten_insignificant_peaks(estimate[..., :80], problem_of(image[:, :80]))
    assert torch.equal(part[..., : 80 - 42], whole[..., : 80 - 42])


def test_dips_on_top_of_bright_stars_stay(problem_of):
    rng = np.random.default_rng(5)
    places = [(row, column) for row in range(12, 90, 18) for column in range(12, 90, 18)]
    truth = 100 + sum(np.minimum(spot(place, 2000), 400) for place in places)  # whose tops are flat
    problem = problem_of(truth + rng.normal(0, SIGMA, truth.shape))
    errors = torch.nn.functional.avg_pool2d(scene(rng.normal(0, SIGMA, truth.shape)), 3, 1, 1)
    estimate = scene(truth) + 0.5 * errors
    flat = flatten_insignificant_peaks(estimate, problem)
    assert (flat - estimate).abs().max() > 0.5
    tops = np.s_[:, truth > 480]
    assert abs(float((flat - estimate)[tops].mean())) < 0.02 * SIGMA
