"""Contracts of every network and network input, found automatically."""

import pytest
import torch

from napari_dip import Recipe
from napari_dip.core.settings import union_members
from napari_dip.prior.networks.hourglass import Hourglass

NETWORKS = union_members(Recipe.model_fields["network"].annotation)
INPUTS = union_members(Recipe.model_fields["network_input"].annotation)


@pytest.fixture
def prior_of(make_observation, make_prior):
    """Make the prior of an array that is its own guide."""

    def prior_of(array, axes="YX", *, network=None, network_input=None, settings=None, **options):
        recipe = Recipe()
        recipe = recipe.replace(
            network=network or recipe.network, network_input=network_input or recipe.network_input
        )
        observation = make_observation(array, axes).with_auxiliary("guide", array, axes=axes)
        return make_prior(observation, recipe.with_settings(settings or {}), **options)

    return prior_of


@pytest.mark.parametrize("network", [kind() for kind in NETWORKS], ids=lambda n: n.kind)
@pytest.mark.parametrize("network_input", [kind() for kind in INPUTS], ids=lambda i: i.kind)
class TestEveryPrior:
    @pytest.mark.parametrize("shape", [(32, 32), (33, 61), (1, 50, 47), (5, 64, 96)])
    def test_it_makes_images_of_any_size(self, prior_of, network, network_input, shape):
        array = torch.randn(shape, generator=torch.Generator().manual_seed(0)).numpy()
        prior = prior_of(array, "CYX"[-len(shape) :], network=network, network_input=network_input)
        image = prior()[0]
        assert tuple(image.shape) == (1, *shape)[-3:]
        assert image.dtype == torch.float32
        assert torch.isfinite(image).all()

    def test_equal_seeds_make_equal_images(self, prior_of, network, network_input, noisy):
        settings = {"network": network, "network_input": network_input}
        torch.manual_seed(1)
        first = prior_of(noisy, seed=7, **settings)()[0]
        torch.manual_seed(2)
        again = prior_of(noisy, seed=7, **settings)()[0]
        other = prior_of(noisy, seed=8, **settings)()[0]
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_it_leaves_the_global_random_state_alone(self, prior_of, network, network_input, noisy):
        before = torch.random.get_rng_state()
        prior_of(noisy, network=network, network_input=network_input)()
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_its_images_are_in_data_units(self, prior_of, network, network_input, noisy):
        image = prior_of(noisy * 1e-20, network=network, network_input=network_input)()[0]
        assert 0 < image.abs().max() < 1e-17

    def test_bfloat16_inside_still_gives_float32(self, prior_of, network, network_input, noisy):
        settings = {"network": network, "network_input": network_input}
        image = prior_of(noisy, precision=torch.bfloat16, **settings)()[0]
        assert image.dtype == torch.float32


def test_nothing_finer_than_the_resolution_comes_out(prior_of, noisy):
    network = Hourglass(upsampling="nearest")
    sharp, smooth = (
        prior_of(
            noisy,
            network=network,
            settings={"operator.kind": "blur", "operator.fwhm": 8.0, "operator.target_fwhm": fwhm},
        )
        for fwhm in (0.0, 4.0)
    )
    images = [prior()[0][0].detach() for prior in (sharp, smooth)]
    finest = [float((image - image.roll(1, 0)).std() / image.std()) for image in images]
    assert finest[1] < 0.5 * finest[0]
    assert images[1].shape == images[0].shape
