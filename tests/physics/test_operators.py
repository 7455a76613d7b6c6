"""Contracts of every forward operator, found by itself."""

import pickle

import numpy as np
import pytest
import torch

from napari_dip import Recipe, restore
from napari_dip.core.settings import union_members

KINDS = union_members(Recipe.model_fields["operator"].annotation)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def settings(request):
    if request.param().kind == "radial":
        pytest.importorskip("torchkbnufft")
    return request.param()


@pytest.fixture
def operator(settings):
    return settings.build(settings.example(seed=0))


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_linear(operator):
    x1, x2 = draw(operator.scene_shape, 1), draw(operator.scene_shape, 2)
    together = operator(2 * x1 - 3 * x2)
    torch.testing.assert_close(together, 2 * operator(x1) - 3 * operator(x2), rtol=1e-4, atol=1e-4)


def test_its_adjoint_is_its_adjoint(operator):
    x = draw(operator.scene_shape, 1)
    ax = operator(x)
    v = draw(ax.shape, 2)
    left, right = (ax.double() * v).sum(), (x.double() * operator.adjoint(v)).sum()
    assert abs(left - right) <= 1e-5 * ax.norm() * v.norm()


def test_it_explains_its_example(settings, operator):
    example = settings.example(seed=0)
    assert tuple(operator(draw(operator.scene_shape, 1)).shape) == example.y[:, :, 0].shape


def test_it_survives_pickling(operator):
    x = draw(operator.scene_shape, 1)
    torch.testing.assert_close(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_it_moves_to_a_device(operator):
    assert operator.to(torch.device("cpu"))(draw(operator.scene_shape, 1)).device.type == "cpu"


def test_a_short_run_on_its_example_lowers_the_loss(settings, quick):
    recipe = quick.with_settings({"operator.kind": settings.kind, "stopping.kind": "fixed"})
    result = restore(settings.example(seed=0), recipe)
    assert result.history[0].loss[-1] < result.history[0].loss[0]
    assert np.isfinite(result.image).all()
