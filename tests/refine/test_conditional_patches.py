"""Missing pixels, estimated from the known ones of their patches."""

import numpy as np
import pytest

from napari_dip import Recipe
from napari_dip.core.fit_data import iter_planes
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.refine.conditional_patches import can_fill, fill_missing

CPU = torch.device("cpu")
Y, X = np.mgrid[:64, :72]
SCENE = 100 + 50 * np.sin(X / 3 + Y / 7) + 30.0 * (np.hypot(Y - 30, X - 40) < 15)


def rms(values):
    return float(values.square().mean().sqrt())


def run(work):
    """What a generator returns in the end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.fixture
def problem_of(make_observation):
    def build(mask, scene=SCENE):
        axes = "YXC" if scene.ndim == 3 else "YX"
        observation = make_observation(scene, axes=axes, mask=mask)
        ((_, data),) = iter_planes(observation)
        recipe = Recipe.preset("inpaint-random").with_settings(
            {"noise.sigma": 0.01 * float(scene.std())}
        )
        return Problem.from_data(data, recipe.operator, recipe.noise, device=CPU)

    return build


def scattered(share, seed=0):
    return np.random.default_rng(seed).random(SCENE.shape) < share


@pytest.mark.parametrize("channels", [1, 3])
def test_missing_pixels_get_closer_to_the_truth(problem_of, channels):
    scene = SCENE if channels == 1 else np.stack([SCENE, 0.7 * SCENE, 200 - SCENE], axis=-1)
    missing = scattered(0.5)
    problem, fitted = problem_of(missing, scene), problem_of(missing | scattered(0.05, 1), scene)
    truth = torch.from_numpy(np.moveaxis(scene.reshape(*SCENE.shape, -1), -1, 0).astype(np.float32))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    start = truth + 6 * noise
    filled = run(fill_missing(start, problem, fitted, is_single_fit=True))
    assert rms(filled[:, missing] - truth[:, missing]) < 0.5 * 6
    torch.testing.assert_close(filled[:, ~missing], truth[:, ~missing])


def test_what_held_out_pixels_do_not_support_is_not_done(problem_of):
    scene = np.random.default_rng(0).normal(100, 20, SCENE.shape)  # no patch is like another
    missing = scattered(0.4)
    problem, fitted = problem_of(missing, scene), problem_of(missing | scattered(0.1, 1), scene)
    truth = torch.from_numpy(scene.astype(np.float32))[None]
    start = truth + torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    filled = run(fill_missing(start, problem, fitted, is_single_fit=True))
    assert rms(filled - truth) < 1.0


def test_the_unit_does_not_matter(problem_of):
    images = []
    for unit in (1.0, 2.0**-60):
        missing = scattered(0.5)
        problem = problem_of(missing, unit * SCENE)
        fitted = problem_of(missing | scattered(0.05, 1), unit * SCENE)
        noise = torch.randn(SCENE.shape, generator=torch.Generator().manual_seed(0))
        start = problem.smoothed[0] + unit * noise
        images.append(run(fill_missing(start, problem, fitted, is_single_fit=True)) / unit)
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-2)


def test_what_is_the_linear_estimate_already_stays_finite(problem_of):
    problem, fitted = problem_of(scattered(0.5)), problem_of(scattered(0.5) | scattered(0.05, 1))
    filled = run(fill_missing(problem.smoothed[0], problem, fitted, is_single_fit=True))
    assert filled.isfinite().all()


def test_scattered_pixels_are_filled_and_regions_are_not(problem_of):
    hole = np.zeros(SCENE.shape, bool)
    hole[20:50, 20:50] = True

    def can(missing):
        return can_fill(problem_of(missing), problem_of(missing | scattered(0.05, 1)))

    assert can(scattered(0.5))
    assert can(scattered(0.02))
    assert not can(scattered(0.95))
    assert not can(hole)
    assert not can(hole | scattered(0.02))
    assert not can(np.zeros(SCENE.shape, bool))
    whole = problem_of(scattered(0.5))
    assert not can_fill(whole, whole)  # nothing was held out
