"""The amortized prior: the same estimate of a pixel, whatever part of the image is given."""

import numpy as np
import pytest
import torch

from napari_dip import Recipe
from napari_dip.physics.windows import Windows
from napari_dip.prior.amortized import CELL_PX, AmortizedPrior
from napari_dip.prior.networks._local import RECEPTIVE_FIELD_PX

SHAPE = (3 * CELL_PX + 22, 3 * CELL_PX + 13)
RNG = np.random.default_rng(0)
SIGMA = RNG.uniform(5, 20, SHAPE).astype(np.float32)
CASES = {
    "gaussian": ({"noise.sigma": 10.0}, {}),
    "photons": ({"noise.kind": "poisson", "noise.gain": 1.0}, {}),
    "read noise": ({"noise.kind": "poisson-gaussian", "noise.gain": 2.0, "noise.read_noise": 3.0}, {}),
    "noise map": ({}, {"sigma": SIGMA}),
    "missing pixels": ({"noise.sigma": 10.0}, {"mask": RNG.random(SHAPE) < 0.1}),
    "masked": ({"noise.sigma": 10.0, "self_supervision.method": "masked"}, {}),
}


def built(problem, recipe, precision):
    prior = AmortizedPrior(
        problem,
        recipe.output,
        recipe.self_supervision,
        precision=precision,
        generator=torch.Generator().manual_seed(0),
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a last layer of zeros would return the input
        prior.network.head.weight.normal_(0, 0.05, generator=generator)
    return prior


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_parts_have_no_seams(make_problem, make_data, case, precision):
    settings, options = CASES[case]
    recipe = Recipe().with_settings(settings)
    y = RNG.poisson(100, SHAPE).astype(np.float32)
    problem = make_problem(make_data(y, **options), recipe=recipe)
    prior = built(problem, recipe, precision)
    whole = list(prior.estimate(problem, (0, 0), 7))
    assert len(whole) == 8
    height, width = SHAPE[0] - CELL_PX, 2 * CELL_PX  # the lower part, without columns to its right
    part = problem.crops(Windows(((CELL_PX, 0),), (height, width), (0,)))
    inside = np.s_[:, RECEPTIVE_FIELD_PX:, : width - RECEPTIVE_FIELD_PX]
    for one, other in zip(whole, prior.estimate(part, (CELL_PX, 0), 7), strict=True):
        expected = one[:, CELL_PX:, :width]
        assert torch.equal(other[inside], expected[inside])
        assert not torch.equal(other, expected)  # its border lacks neighbors


def test_each_orientation_has_its_own_random_numbers(make_problem, make_data):
    problem = make_problem(
        make_data(np.full(SHAPE, 5.0) + RNG.normal(0, 1, SHAPE)), {"noise.sigma": 1.0}
    )
    prior = AmortizedPrior(
        problem,
        Recipe().output,
        Recipe().self_supervision,
        precision=torch.float32,
        generator=torch.Generator().manual_seed(0),
    )
    # Before the fit the network returns its input: the data, and noise of 0.7 sigma.
    estimates = torch.stack(list(prior.estimate(problem, (0, 0), 0))) - problem.y
    assert float(estimates.std()) == pytest.approx(0.7, abs=0.01)
    assert np.abs(np.corrcoef(estimates.flatten(1).numpy()) - np.eye(8)).max() < 0.02
    others = torch.stack(list(prior.estimate(problem, (0, 0), 1))) - problem.y
    assert abs(np.corrcoef(estimates[0].flatten(), others[0].flatten())[0, 1]) < 0.02


def test_starts_with_weights_that_fit(make_problem, make_data):
    def prior_for(channels, start=None):
        y = RNG.normal(0, 1, (*SHAPE[:2], channels))
        problem = make_problem(make_data(y, "YXC"), {"noise.sigma": 1.0})
        recipe = Recipe()
        return AmortizedPrior(
            problem,
            recipe.output,
            recipe.self_supervision,
            precision=torch.float32,
            generator=torch.Generator().manual_seed(3),
            start=start,
        )

    weights = {name: value + 1 for name, value in prior_for(1).weights().items()}
    warm = prior_for(1, weights)
    assert warm.is_warm
    assert all(torch.equal(value, weights[name]) for name, value in warm.weights().items())
    assert not prior_for(3, weights).is_warm
