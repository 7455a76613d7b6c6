"""Contracts of every forward operator, found automatically."""

import pickle

import numpy as np
import pytest
import torch

from napari_dip import Gaussian, KSpace, Recipe, restore
from napari_dip.core.fit_data import FitData
from napari_dip.core.settings import union_members
from napari_dip.physics.data_consistency import wiener_estimate

KINDS = union_members(Recipe.model_fields["operator"].annotation)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def settings(request):
    if request.param().kind == "radial":
        pytest.importorskip("torchkbnufft")
    return request.param()


@pytest.fixture
def data(settings):
    example = settings.make_example(seed=0)
    return FitData.from_observation(example, keep_times=settings.combines_time)


@pytest.fixture
def operator(settings, data):
    return settings.build(data)


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_linear(operator):
    x1, x2 = draw(operator.scene_shape, 1), draw(operator.scene_shape, 2)
    sum_of_both = operator(2 * x1 - 3 * x2)
    torch.testing.assert_close(sum_of_both, 2 * operator(x1) - 3 * operator(x2), rtol=1e-4, atol=1e-4)


def test_its_adjoint_is_its_adjoint(operator):
    x = draw(operator.scene_shape, 1)
    ax = operator(x)
    v = draw(ax.shape, 2)
    left, right = (ax.double() * v).sum(), (x.double() * operator.adjoint(v)).sum()
    assert abs(left - right) <= 1e-5 * ax.norm() * v.norm()


def test_its_data_have_the_shape_of_its_example(operator, data):
    assert tuple(operator(draw(operator.scene_shape, 1)).shape) == data.y.shape


def test_it_explains_its_example(settings, data, make_problem):
    noise = KSpace() if settings.has_complex_scene else Gaussian()
    problem = make_problem(data, recipe=Recipe().replace(operator=settings, noise=noise))
    values, observed = problem.scaled_data()
    mean = torch.where(observed, values, 0).sum(dim=1) / observed.sum(dim=1)
    constant = mean[:, None, None].expand(problem.operator.scene_shape)
    misfit = problem.rms_normalized_residual(wiener_estimate(problem))
    assert misfit < 1.5  # of the noise
    assert misfit < problem.rms_normalized_residual(constant) / 4


def test_it_survives_pickling(operator):
    x = draw(operator.scene_shape, 1)
    torch.testing.assert_close(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_it_moves_to_a_device(operator, tensors_in):
    before = [tensor.device.type for tensor in tensors_in(operator)]
    moved = operator.to(torch.device("meta"))
    assert all(tensor.device.type == "meta" for tensor in tensors_in(moved))
    assert [tensor.device.type for tensor in tensors_in(operator)] == before == ["cpu"] * len(before)
    assert len(tensors_in(moved)) == len(before)
    stays = operator.to(torch.device("cpu"))
    x = draw(operator.scene_shape, 1)
    torch.testing.assert_close(stays(x), operator(x))


def test_a_short_run_on_its_example_lowers_the_loss(settings, fast_recipe):
    recipe = fast_recipe.with_settings({"operator.kind": settings.kind, "stopping.kind": "fixed"})
    result = restore(settings.make_example(seed=0), recipe)
    assert result.history[0].loss[-1] < result.history[0].loss[0]
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("factor", [2, 8])
def test_a_linear_estimate_on_a_finer_grid_keeps_the_contrast(make_observation, make_problem, factor):
    y, x = np.mgrid[:32, :32]
    scene = 100 + 40 * np.sin(0.4 * y) * np.cos(0.3 * x)
    noisy = scene + np.random.default_rng(0).normal(0, 2, scene.shape)
    settings = {"operator.kind": "downsample", "operator.scale_factor": factor}
    problem = make_problem(make_observation(noisy, "YX"), settings)
    estimate = wiener_estimate(problem)
    assert float(estimate.std()) == pytest.approx(scene.std(), rel=0.1)
    assert problem.rms_normalized_residual(estimate) < 2
