"""The observation as network input: two parts of the data with independent noise."""

import numpy as np
import pytest
import torch

from napari_dip import Recipe, restore
from napari_dip.core.errors import SettingsError
from napari_dip.physics.operators.downsample import Downsample
from napari_dip.physics.operators.identity import Identity
from napari_dip.physics.splitting import split_noise
from napari_dip.prior.self_supervision import SelfSupervision

SIDE = 256
LEVEL = 12.0  # data units
GAIN, READ_NOISE, OFFSET = 2.0, 3.0, 5.0

RNG = np.random.default_rng(1)
PHOTONS = RNG.poisson((LEVEL - OFFSET) * GAIN, (SIDE, SIDE))
NOISES = {
    "gaussian": ({"sigma": 4.0, "relative_error": 0}, LEVEL + RNG.normal(0, 4, (SIDE, SIDE))),
    "poisson": ({"gain": GAIN, "offset": OFFSET, "relative_error": 0}, PHOTONS / GAIN + OFFSET),
    "poisson-gaussian": (
        {"gain": GAIN, "offset": OFFSET, "read_noise": READ_NOISE, "relative_error": 0},
        (PHOTONS + RNG.normal(0, READ_NOISE, PHOTONS.shape)) / GAIN + OFFSET,
    ),
}


@pytest.fixture
def problem_of(make_observation, make_problem):
    """Make the problem of an array under some noise."""

    def problem_of(array, *, noise=None, mask=None):
        recipe = Recipe.parse({"noise": noise or {"kind": "gaussian"}}, source="test")
        return make_problem(make_observation(array, mask=mask), recipe=recipe)

    return problem_of


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("kind", NOISES)
class TestTheTwoPartsOfEveryNoise:
    @pytest.fixture
    def parts(self, problem_of, kind, alpha):
        """Give the problem of a constant scene, and its two parts."""
        settings, y = NOISES[kind]
        problem = problem_of(y, noise={"kind": kind, **settings})
        x = torch.full((1, SIDE, SIDE), LEVEL)
        return problem, *split_noise(problem, x, alpha, torch.Generator().manual_seed(0))

    def test_have_independent_noise_about_the_same_mean(self, parts):
        first, second = (part.y.flatten().numpy() for part in parts[1:])
        error = 4 / SIDE  # four standard errors of a mean, or of a correlation, of so many pixels
        assert first.mean() == pytest.approx(LEVEL, abs=error * float(first.std()))
        assert second.mean() == pytest.approx(LEVEL, abs=error * float(second.std()))
        assert abs(np.corrcoef(first, second)[0, 1]) < error
        assert abs(np.corrcoef(first**2, second)[0, 1]) < 2 * error

    def test_are_as_noisy_as_their_likelihood_says(self, parts, alpha):
        problem, noisier, target = parts
        mean = torch.full_like(problem.y, LEVEL)
        ratio = (noisier.likelihood.random_std(mean) / problem.likelihood.random_std(mean)).mean()
        assert float(ratio) == pytest.approx(np.sqrt(1 + alpha**2), rel=1e-5)
        std = float(noisier.likelihood.std(mean).mean())
        assert std == pytest.approx(float(noisier.y.std()), rel=0.02)
        assert float(target.y.std() / problem.y.std()) == pytest.approx(np.sqrt(1 + alpha**-2), rel=0.02)

    def test_can_be_split_again(self, parts):
        _, noisier, _ = parts
        x = torch.full((1, SIDE, SIDE), LEVEL)
        again = split_noise(noisier, x, 0.5, torch.Generator().manual_seed(1))
        first, second = (part.y.flatten().numpy() for part in again)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / SIDE


def test_each_photon_goes_to_one_part_and_none_is_lost(problem_of):
    settings, y = NOISES["poisson"]
    problem = problem_of(y, noise={"kind": "poisson", **settings})
    noisier, target = split_noise(problem, None, 0.5, torch.Generator().manual_seed(0))
    first = (noisier.y - OFFSET) * GAIN * 0.8
    second = (target.y - OFFSET) * GAIN * 0.2
    torch.testing.assert_close(first, first.round(), atol=1e-3, rtol=0)
    torch.testing.assert_close(first + second, (problem.y - OFFSET) * GAIN, atol=1e-3, rtol=0)


def test_a_limit_has_no_noise_to_split(problem_of):
    y = np.minimum(RNG.normal(100, 10, (64, 64)), 105)
    problem = problem_of(y, noise={"kind": "gaussian", "sigma": 10.0, "censored": True})
    for part in split_noise(problem, None, 0.5, torch.Generator().manual_seed(0)):
        assert torch.equal(part.y == 105, problem.y == 105)


def test_an_error_of_the_flat_field_is_in_both_parts(problem_of):
    """It is the same in every exposure: split like noise, it would blur the brightest stars."""
    y = np.full((64, 64), 100.0)
    y[30:34, 30:34] = 1e6
    problem = problem_of(y, noise={"kind": "gaussian", "sigma": 1.0, "relative_error": 0.1})
    noisier, _ = split_noise(problem, None, 0.5, torch.Generator().manual_seed(0))
    assert float((noisier.y - problem.y).abs().max()) < 5


class TestSplitter:
    @pytest.fixture
    def split(self, problem_of):
        """Give the problem of noise with missing pixels, and its split by some method."""

        def split(method, mask):
            problem = problem_of(RNG.normal(100, 10, (64, 64)), mask=mask)
            generator = torch.Generator().manual_seed(0)
            return problem, SelfSupervision(method=method).splitter(problem, 1, generator)(None)

        return split

    def test_each_observed_pixel_is_in_the_input_or_in_the_target(self, split):
        problem, parts = split("masked", np.arange(64 * 64).reshape(64, 64) % 3 == 0)
        assert not (parts.input.observed & parts.target.observed).any()
        assert torch.equal(parts.input.observed | parts.target.observed, problem.observed)

    def test_of_few_pixels_none_is_spared(self, problem_of):
        problem = problem_of(RNG.normal(100, 10, (64, 64)), mask=RNG.random((64, 64)) < 0.8)
        settings = SelfSupervision(method="masked")
        assert settings.splitter(problem, 1, torch.Generator().manual_seed(0)) is None

    def test_what_is_missing_is_masked_once_more_elsewhere_and_predicted_there(self, split):
        mask = np.zeros((64, 64), bool)
        mask[20:25, 30:40] = True
        problem, parts = split("recorrupted", mask)
        hidden = problem.observed & ~parts.input.observed
        assert 0 < int(hidden.sum()) <= 50
        assert torch.equal(parts.target.observed, problem.observed)

    def test_where_much_is_missing_enough_is_left_to_see(self, problem_of):
        """If half is missing, and as much again elsewhere, the network sees a quarter and is worse."""
        mask = np.zeros((64, 64), bool)
        mask[:, :32] = True
        problem = problem_of(RNG.normal(100, 10, (64, 64)), mask=mask)
        generator = torch.Generator().manual_seed(0)
        splitter = SelfSupervision(method="recorrupted").splitter(problem, 1, generator)
        seen = [int((splitter(None).input.observed).sum()) / (64 * 32) for _ in range(200)]
        assert 0.65 < np.mean(seen) < 0.85  # a quarter is hidden on average, and half if all were
        assert min(seen) < 0.3

    def test_a_complete_image_is_given_whole(self, split):
        _, parts = split("recorrupted", np.zeros((64, 64), bool))
        assert parts.input.observed.all()

    def test_the_observation_does_not_fit_into_a_smaller_network_input(self, problem_of):
        problem = problem_of(RNG.normal(100, 10, (64, 64)))
        generator = torch.Generator().manual_seed(0)
        assert SelfSupervision().splitter(problem, 32, generator) is None
        with pytest.raises(
            SettingsError, match=r"self_supervision\.method 'recorrupted' needs a network"
        ):
            SelfSupervision(method="recorrupted").splitter(problem, 32, generator)


@pytest.mark.parametrize(
    "operator", [Identity(), Downsample(scale_factor=3.0)], ids=lambda operator: operator.kind
)
def test_the_network_sees_the_observation_in_its_place(make_observation, make_prior, operator):
    y, x = np.mgrid[:48, :40]
    scene = 100 + 20.0 * (np.hypot(y - 20, x - 25) < 9)
    settings = {"noise.sigma": 0.1, "self_supervision.method": "recorrupted"}
    recipe = Recipe().replace(operator=operator).with_settings(settings)
    prior = make_prior(make_observation(scene), recipe)
    seen = {}
    prior.network.register_forward_pre_hook(lambda _, inputs: seen.update(z=inputs[0]))
    image, _ = prior()
    data, known = seen["z"][0, -2:]
    assert known.min() == 1
    top, left = ((side - n) // 2 for side, n in zip(data.shape, image.shape[1:], strict=True))
    inside = data[top : top + image.shape[1], left : left + image.shape[2]]
    scale_factor = image.shape[1] // 48
    expected = np.kron((scene - scene.mean()) / scene.std(), np.ones((scale_factor, scale_factor)))
    assert np.corrcoef(np.asarray(inside).ravel(), expected.ravel())[0, 1] > 0.97


def test_it_denoises_better_than_the_plain_prior(scene, noisy):
    small = {
        "network.channels": 16,
        "network.depth": 3,
        "solver.max_steps": 600,
        "refinement.patch_method": "none",
    }
    errors = {}
    for method in ("none", "recorrupted"):
        recipe = Recipe().with_settings({**small, "self_supervision.method": method})
        result = restore(noisy, recipe)
        errors[method] = np.sqrt(np.mean((result.image - scene) ** 2))
        assert result.provenance.self_supervision == method
    # 0.78 to 0.80 of it over two precisions, AVX2 and AVX-512; up to 0.86 for other noise.
    assert errors["recorrupted"] < 0.9 * errors["none"]
