"""The observation inside the code: halves of the data with independent noise."""

import numpy as np
import pytest
import torch

from napari_dip import Observation, Recipe, restore
from napari_dip.core.errors import SettingsError
from napari_dip.physics.operators.downsample import Downsample
from napari_dip.physics.operators.identity import Identity
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior
from napari_dip.prior.self_supervision import SelfSupervision

SIDE = 256
LEVEL = 12.0  # data units
GAIN, READ_NOISE, OFFSET = 2.0, 3.0, 5.0

RNG = np.random.default_rng(1)
PHOTONS = RNG.poisson((LEVEL - OFFSET) * GAIN, (SIDE, SIDE))
NOISES = {
    "gaussian": ({"sigma": 4.0, "relative": 0}, LEVEL + RNG.normal(0, 4, (SIDE, SIDE))),
    "poisson": ({"gain": GAIN, "offset": OFFSET, "relative": 0}, PHOTONS / GAIN + OFFSET),
    "poisson-gaussian": (
        {"gain": GAIN, "offset": OFFSET, "read_noise": READ_NOISE, "relative": 0},
        (PHOTONS + RNG.normal(0, READ_NOISE, PHOTONS.shape)) / GAIN + OFFSET,
    ),
}


def problem_of(array, *, noise=None, operator=None, holes=None):
    frame = Observation.from_array(array, axes="YX", mask=holes)
    settings = Recipe.parse({"noise": noise or {"kind": "gaussian"}}, source="test").noise
    return Problem.from_data(frame, operator or Identity(), settings, device=torch.device("cpu")), frame


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("kind", NOISES)
class TestTheHalvesOfEveryNoise:
    def halves(self, kind, strength):
        settings, y = NOISES[kind]
        problem, _ = problem_of(y, noise={"kind": kind, **settings})
        x = torch.full((1, SIDE, SIDE), LEVEL)
        return problem, *problem.split(x, strength, torch.Generator().manual_seed(0))

    def test_have_independent_noise_about_the_same_mean(self, kind, strength):
        _, given, asked = self.halves(kind, strength)
        first, second = given.y.flatten().numpy(), asked.y.flatten().numpy()
        error = 4 / SIDE  # four standard errors of a mean, or of a correlation, of so many pixels
        assert first.mean() == pytest.approx(LEVEL, abs=error * float(first.std()))
        assert second.mean() == pytest.approx(LEVEL, abs=error * float(second.std()))
        assert abs(np.corrcoef(first, second)[0, 1]) < error
        assert abs(np.corrcoef(first**2, second)[0, 1]) < 2 * error

    def test_are_as_noisy_as_they_say(self, kind, strength):
        problem, given, asked = self.halves(kind, strength)
        mean = torch.full_like(problem.y, LEVEL)
        wider = float(
            given.likelihood.random_std(mean).mean() / problem.likelihood.random_std(mean).mean()
        )
        assert wider == pytest.approx(np.sqrt(1 + strength**2), rel=1e-5)
        assert float(given.likelihood.std(mean).mean()) == pytest.approx(float(given.y.std()), rel=0.02)
        assert float(asked.y.std() / problem.y.std()) == pytest.approx(
            np.sqrt(1 + strength**-2), rel=0.02
        )

    def test_can_be_split_again(self, kind, strength):
        _, given, _ = self.halves(kind, strength)
        x = torch.full((1, SIDE, SIDE), LEVEL)
        halves = given.split(x, 0.5, torch.Generator().manual_seed(1))
        first, second = (half.y.flatten().numpy() for half in halves)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / SIDE


def test_single_photons_are_dealt_out_and_none_is_lost():
    settings, y = NOISES["poisson"]
    problem, _ = problem_of(y, noise={"kind": "poisson", **settings})
    given, asked = problem.split(None, 0.5, torch.Generator().manual_seed(0))
    first = (given.y - OFFSET) * GAIN * 0.8
    second = (asked.y - OFFSET) * GAIN * 0.2
    torch.testing.assert_close(first, first.round(), atol=1e-3, rtol=0)
    torch.testing.assert_close(first + second, (problem.y - OFFSET) * GAIN, atol=1e-3, rtol=0)


def test_a_limit_has_no_noise_to_split():
    y = np.minimum(RNG.normal(100, 10, (64, 64)), 105)
    problem, _ = problem_of(y, noise={"kind": "gaussian", "sigma": 10.0, "censored": True})
    for half in problem.split(None, 0.5, torch.Generator().manual_seed(0)):
        assert torch.equal(half.y == 105, problem.y == 105)


def test_an_error_of_the_flat_field_is_in_both_halves():
    """It is the same in every exposure: split like noise, it would blur the brightest stars."""
    y = np.full((64, 64), 100.0)
    y[30:34, 30:34] = 1e6
    problem, _ = problem_of(y, noise={"kind": "gaussian", "sigma": 1.0, "relative": 0.1})
    given, _ = problem.split(None, 0.5, torch.Generator().manual_seed(0))
    assert float((given.y - problem.y).abs().max()) < 5


class TestSplitting:
    def halves(self, kind, holes):
        y = RNG.normal(100, 10, (64, 64))
        problem, _ = problem_of(y, holes=holes)
        splitter = SelfSupervision(method=kind).splitter(problem, 1, torch.Generator().manual_seed(0))
        return problem, splitter(None)

    def test_pixels_are_either_given_or_asked(self):
        problem, halves = self.halves("pixels", np.arange(64 * 64).reshape(64, 64) % 3 == 0)
        assert not (halves.input.observed & halves.target.observed).any()
        assert torch.equal(halves.input.observed | halves.target.observed, problem.observed)

    def test_of_few_pixels_none_is_spared(self):
        problem, _ = problem_of(RNG.normal(100, 10, (64, 64)), holes=RNG.random((64, 64)) < 0.8)
        splitting = SelfSupervision(method="masked")
        assert splitting.splitter(problem, 1, torch.Generator().manual_seed(0)) is None

    def test_holes_are_hidden_once_more_elsewhere_and_asked_there(self):
        holes = np.zeros((64, 64), bool)
        holes[20:25, 30:40] = True
        problem, halves = self.halves("noise", holes)
        hidden = problem.observed & ~halves.input.observed
        assert 0 < int(hidden.sum()) <= 50
        assert torch.equal(halves.target.observed, problem.observed)

    def test_a_complete_image_is_given_whole(self):
        _, halves = self.halves("noise", np.zeros((64, 64), bool))
        assert halves.input.observed.all()

    def test_a_code_of_another_size_has_no_place_for_the_observation(self):
        problem, _ = problem_of(RNG.normal(100, 10, (64, 64)))
        generator = torch.Generator().manual_seed(0)
        assert SelfSupervision().splitter(problem, 32, generator) is None
        with pytest.raises(SettingsError, match=r"recorruption\.split"):
            SelfSupervision(method="recorrupted").splitter(problem, 32, generator)


@pytest.mark.parametrize(
    "operator", [Identity(), Downsample(scale_factor=3.0)], ids=lambda operator: operator.kind
)
def test_the_network_sees_the_observation_in_its_place(operator):
    y, x = np.mgrid[:48, :40]
    scene = 100 + 20.0 * (np.hypot(y - 20, x - 25) < 9)
    problem, frame = problem_of(scene, operator=operator, noise={"kind": "gaussian", "sigma": 0.1})
    recipe = Recipe()
    prior = Prior(
        problem, frame, recipe.network, recipe.network_input, recipe.output, SelfSupervision(method="recorrupted"),
        precision=torch.float32, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    seen = {}
    prior.network.register_forward_pre_hook(lambda _, inputs: seen.update(z=inputs[0]))
    image, _ = prior()
    picture, known = seen["z"][0, -2:]
    assert known.min() == 1
    top, left = ((side - n) // 2 for side, n in zip(picture.shape, image.shape[1:], strict=True))
    cut = picture[top : top + image.shape[1], left : left + image.shape[2]]
    zoom = image.shape[1] // 48
    expected = np.kron((scene - scene.mean()) / scene.std(), np.ones((zoom, zoom)))
    assert np.corrcoef(np.asarray(cut).ravel(), expected.ravel())[0, 1] > 0.97


def test_it_denoises_better_than_the_plain_prior(scene, noisy):
    observation = Observation.from_array(noisy, axes="YX")
    small = {"network.channels": 16, "network.depth": 3, "solver.max_steps": 600} | {
        "refinement.patch_method": "none"
    }
    errors = {}
    for kind in ("none", "noise"):
        recipe = Recipe().with_settings({**small, "self_supervision.method": kind})
        result = restore(observation, recipe)
        errors[kind] = np.sqrt(np.mean((result.image - scene) ** 2))
        assert result.provenance["split"] == kind
    assert errors["noise"] < 0.9 * errors["none"]
