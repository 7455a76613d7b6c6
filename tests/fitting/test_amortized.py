"""Random crops, their optimizer, and the fit of one network to them."""

import numpy as np
import pytest
import torch

from napari_dip import Recipe
from napari_dip.core.errors import DivergenceError
from napari_dip.fitting.amortized import CROP_PX, AmortizedFit, CropSampler
from napari_dip.fitting.muon import Muon, orthogonalize
from napari_dip.prior.amortized import AmortizedPrior

SHAPE = (3 * 96, 160)
SIGMA = 10.0


@pytest.fixture
def problem(make_problem, make_data):
    y = np.random.default_rng(0).normal(100, SIGMA, SHAPE)
    y[150:160, 40:50] += 200
    return make_problem(make_data(y), {"noise.sigma": SIGMA})


@pytest.fixture
def make_fit(problem):
    def make(steps, seed=0, **options):
        recipe, generator = Recipe(), torch.Generator().manual_seed(seed)
        prior = AmortizedPrior(
            problem, recipe.output, recipe.self_supervision, precision=torch.float32, generator=generator
        )
        sampler = CropSampler(problem, generator)
        return prior, AmortizedFit(prior, problem, sampler, steps, generator, **options)

    return make


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class TestMuon:
    @pytest.mark.parametrize("shape", [(8, 30), (30, 8), (1, 9)])
    def test_makes_singular_values_alike(self, shape):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        matrix[0] *= 100
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert values.min() > 0.3
        assert values.max() < 1.3
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        torch.testing.assert_close(
            torch.sign(torch.diag(left.T @ orthogonalize(matrix) @ right.T)), torch.ones(min(shape))
        )

    def test_leaves_a_gradient_of_zeros_finite(self):
        assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4))

    def test_lowers_a_loss_along_rare_directions_too(self):
        truth = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
        weights = 10.0 ** torch.linspace(0, -2, 6)[:, None]
        kernel = torch.nn.Parameter(torch.zeros_like(truth))
        muon, errors = Muon([kernel]), []
        for step in range(400):
            error = (kernel - truth).flatten(1)
            kernel.grad = None
            (weights * error**2).sum().backward()
            muon.step(0.1 * (1 - step / 400))
            errors.append(error.square().mean(dim=1).sqrt())
        assert (errors[-1] < 0.1).all()


class TestSampler:
    def test_crops_are_inside_one_region_each(self, problem):
        sampler = CropSampler(problem, torch.Generator().manual_seed(0), region_height=96)
        windows = sampler.draw(400)
        tops, lefts = np.array(windows.places).T
        assert windows.sides == (CROP_PX, CROP_PX)
        assert lefts.min() == 0
        assert lefts.max() == SHAPE[1] - CROP_PX
        assert set(tops // 96) == {0, 1, 2}
        assert np.array_equal(tops // 96, (tops + CROP_PX - 1) // 96)
        assert set(windows.orientations) == set(range(8))

    def test_half_of_the_crops_show_the_only_source(self, problem):
        windows = CropSampler(problem, torch.Generator().manual_seed(0)).draw(400)
        tops, lefts = np.array(windows.places).T
        shows = (tops < 155) & (tops + CROP_PX > 155) & (lefts < 45) & (lefts + CROP_PX > 45)
        by_chance = 0.12  # of the others
        assert 0.4 < shows.mean() < 0.5 + by_chance

    def test_a_small_image_has_small_crops(self, make_problem, make_data):
        data = make_data(np.random.default_rng(0).normal(0, 1, (50, 60)))
        sampler = CropSampler(make_problem(data), torch.Generator().manual_seed(0))
        assert sampler.draw(1).sides == (48, 48)


class TestFit:
    def test_removes_the_noise_and_not_the_source(self, problem, make_fit):
        prior, fit = make_fit(150)
        history, stopped = finish(fit.run())
        assert (len(history.loss), history.selected_step, stopped) == (150, 150, False)
        assert history.validation_loss[-1] < history.validation_loss[0]
        x = torch.stack(list(prior.estimate(problem, (0, 0), 0))).mean(dim=0)[0].numpy()
        sky = np.s_[:140]
        assert x[sky].std() < 0.3 * SIGMA
        assert x[sky].mean() == pytest.approx(100, abs=0.1 * SIGMA)
        assert x[155, 45] > 250

    def test_is_repeated_by_the_same_seed_alone(self, make_fit):
        found = []
        for seed in (0, 0, 1):
            prior, fit = make_fit(5, seed)
            finish(fit.run())
            found.append(torch.cat([w.flatten() for w in prior.weights().values()]))
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])

    def test_of_a_warm_network_takes_a_quarter_of_the_steps(self, make_fit):
        _, fit = make_fit(40, is_warm=True)
        history, _ = finish(fit.run())
        assert len(history.loss) == 10

    def test_that_diverges_is_an_error(self, problem, make_fit):
        prior, fit = make_fit(20)
        with torch.no_grad():
            prior.network.head.weight.fill_(torch.nan)
        with pytest.raises(DivergenceError, match="diverged before step 10"):
            finish(fit.run())
