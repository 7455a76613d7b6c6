"""Parts of data in any orientation, and their likelihood."""

import numpy as np
import pytest
import torch

from napari_dip import Gaussian, Poisson, PoissonGaussian, Recipe
from napari_dip.physics.windows import ORIENTATIONS, Windows, orient, orient_back


def test_orientations_differ_and_can_be_undone():
    x = torch.arange(12.0).reshape(1, 3, 4)
    oriented = [orient(x, number) for number in range(ORIENTATIONS)]
    assert len({(*o.flatten().tolist(), *o.shape) for o in oriented}) == ORIENTATIONS
    for number, turned in enumerate(oriented):
        assert torch.equal(orient_back(turned, number), x)


@pytest.mark.parametrize(
    "noise",
    [
        Gaussian(sigma=3.0),
        Gaussian(),
        Gaussian(sigma=3.0, censored=True, saturation=110.0),
        Gaussian(sigma=3.0, reject_outliers=True),
        Poisson(gain=1.0),
        PoissonGaussian(gain=2.0, read_noise=3.0),
    ],
    ids=lambda noise: f"{noise.kind} {noise.model_dump(exclude_defaults=True)}",
)
def test_the_likelihood_of_crops_is_that_of_the_whole(make_problem, make_data, noise):
    rng = np.random.default_rng(0)
    y = rng.poisson(100, (48, 64)).astype(np.float32)
    sigma = rng.uniform(2, 4, (48, 64)) if noise == Gaussian() else None
    data = make_data(y) if sigma is None else make_data(y, sigma=sigma)
    problem = make_problem(data, recipe=Recipe(noise=noise))
    mean = torch.full_like(problem.y, 99.0)
    windows = Windows(((3, 5), (20, 30)), (16, 16), (0, 6))
    crops = problem.crops(windows)
    expected = windows.cut(problem.likelihood.nll(mean, problem.y))
    found = crops.likelihood.nll(windows.cut(mean), crops.y)
    assert torch.equal(found, expected)
    misfit = expected[windows.cut(problem.observed)].mean()
    assert float(crops.data_misfit(windows.cut(mean))) == pytest.approx(float(misfit))
    fewer = crops.likelihood.of_first_part(0.5).std(windows.cut(mean))
    more = windows.cut(problem.likelihood.of_first_part(0.5).std(mean).expand_as(mean))
    torch.testing.assert_close(fewer.expand_as(more), more)
