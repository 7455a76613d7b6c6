"""Contracts of every network and network input, found automatically."""

import numpy as np
import pytest
import torch

from napari_dip import Recipe
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.settings import union_members
from napari_dip.prior.networks._temporal import deform
from napari_dip.prior.networks.deforming import Deforming
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
        prior = prior_of(noisy, precision=torch.bfloat16, **settings)
        outputs = []
        prior.network.register_forward_hook(lambda _, __, output: outputs.append(output.dtype))
        assert prior()[0].dtype == torch.float32
        assert outputs == [torch.float32]


class TestDeformation:
    def test_pixels_are_taken_from_where_the_displacement_says(self):
        series = torch.rand((2, 3, 24, 30), generator=torch.Generator().manual_seed(0))
        displacements = torch.zeros((2, 2, 4, 4))
        displacements[1, 0], displacements[1, 1] = 2.0, -3.0
        still, moved = deform(series, displacements)
        torch.testing.assert_close(still, series[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(moved[:, :22, 3:], series[1, :, 2:, :27], rtol=0, atol=1e-5)

    def test_it_is_finer_than_linear_interpolation(self):
        y = torch.arange(32.0)
        waves = torch.sin(0.9 * y)[None, None, :, None].expand(1, 1, 32, 32)
        displacements = torch.tensor([0.5, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
        error = deform(waves, displacements)[0, 0] - torch.sin(0.9 * (y + 0.5))[:, None]
        linear = 1 - np.cos(0.45)  # what the mean of two neighbors lacks
        assert error[2:-2].abs().max() < 0.4 * linear

    def test_each_frame_has_its_own(self):
        network = Deforming(rank=2, depth=2).build(1, ChannelLayout(3, 1, 1))
        z = torch.rand((1, 1, 32, 32), generator=torch.Generator().manual_seed(0))
        last = network.motion.layers[-1]
        last.weight.data[:2] = 0  # the same mixture at each time
        first, second, _ = network(z)[0]
        assert not torch.allclose(first, second)
        last.weight.data[2:] = 0  # and the same displacements
        first, second, third = network(z)[0]
        assert torch.equal(first, second)
        assert torch.equal(first, third)

    def test_frames_at_one_point_of_the_manifold_are_equal(self):
        network = Deforming(depth=2, manifold_dimensions=1).build(1, ChannelLayout(4, 1, 1))
        places = network.motion.layers[0].weight.data
        assert places.shape == (1, 4, 1, 1)
        places[:, 3] = places[:, 0]
        frames = network(torch.ones((1, 1, 32, 32)))[0]
        assert torch.equal(frames[0], frames[3])
        assert not torch.equal(frames[0], frames[1])


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
