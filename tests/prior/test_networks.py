"""Contracts of every network and code, found by themselves."""

import pytest
import torch

from napari_dip import Observation, Recipe
from napari_dip.core.settings import union_members
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior
from napari_dip.prior.networks.hourglass import Hourglass

NETWORKS = union_members(Recipe.model_fields["network"].annotation)
CODES = union_members(Recipe.model_fields["code"].annotation)


def prior_of(
    array, axes, *, network, code, seed=0, precision=torch.float32, output=None, recorruption=None
):
    recipe = Recipe()
    observation = Observation.from_array(array, axes=axes).with_auxiliary("guide", array, axes=axes)
    (_, frame), *_ = observation.iter_planes()
    problem = Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    output = output or recipe.output
    return Prior(
        problem,
        frame,
        network,
        code,
        output,
        recorruption or recipe.self_supervision,
        precision=precision,
        generator=generator,
    )


@pytest.mark.parametrize("network", [kind() for kind in NETWORKS], ids=lambda n: n.kind)
@pytest.mark.parametrize("code", [kind() for kind in CODES], ids=lambda c: c.kind)
class TestEveryPrior:
    @pytest.mark.parametrize("shape", [(32, 32), (33, 61), (1, 50, 47), (5, 64, 96)])
    def test_it_makes_images_of_any_size(self, network, code, shape):
        array = torch.randn(shape, generator=torch.Generator().manual_seed(0)).numpy()
        image = prior_of(array, "CYX"[-len(shape) :], network=network, code=code)()[0]
        assert tuple(image.shape) == (1, *shape)[-3:]
        assert image.dtype == torch.float32
        assert torch.isfinite(image).all()

    def test_equal_seeds_make_equal_images(self, network, code, noisy):
        torch.manual_seed(1)
        first = prior_of(noisy, "YX", network=network, code=code, seed=7)()[0]
        torch.manual_seed(2)
        again = prior_of(noisy, "YX", network=network, code=code, seed=7)()[0]
        other = prior_of(noisy, "YX", network=network, code=code, seed=8)()[0]
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_it_leaves_the_global_random_state_alone(self, network, code, noisy):
        before = torch.random.get_rng_state()
        prior_of(noisy, "YX", network=network, code=code)()
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_it_speaks_data_units(self, network, code, noisy):
        image = prior_of(noisy * 1e-20, "YX", network=network, code=code)()[0]
        assert 0 < image.abs().max() < 1e-17

    def test_bfloat16_inside_still_gives_float32(self, network, code, noisy):
        image = prior_of(noisy, "YX", network=network, code=code, precision=torch.bfloat16)()[0]
        assert image.dtype == torch.float32


def test_nothing_finer_than_the_resolution_comes_out(noisy):
    recipe = Recipe()
    network = Hourglass(upsampling="nearest")
    sharp = prior_of(noisy, "YX", network=network, code=recipe.network_input)
    told = recipe.with_settings({"output.min_fwhm": 4.0})
    smooth = prior_of(noisy, "YX", network=network, code=recipe.network_input, output=told.output)
    images = [prior()[0][0].detach() for prior in (sharp, smooth)]
    finest = [float((image - image.roll(1, 0)).std() / image.std()) for image in images]
    assert finest[1] < 0.5 * finest[0]
    assert images[1].shape == images[0].shape
