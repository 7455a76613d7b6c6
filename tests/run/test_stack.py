"""Stacks: planes that are restored together, and what becomes of their order."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_dip import Observation, Recipe, restore
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import SettingsError
from napari_dip.core.header import Header
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior
from napari_dip.prior.networks.volume import VolumeHourglass
from napari_dip.run.alignment import FrameAlignment
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.stack import Stack

QUICK = {"network.channels": 8, "network.depth": 2, "solver.max_steps": 12}


def numbered(times=2, channels=3, depths=4):
    """Noise whose mean in each plane is the plane's number, in the order (T, C, Z)."""
    planes = np.arange(times * channels * depths, dtype=float).reshape(times, channels, depths)
    noise = np.random.default_rng(0).normal(0, 0.1, (*planes.shape, 32, 32))
    return 10 * planes[..., None, None] + noise


def test_folded_planes_are_in_the_order_of_times_channels_and_depths():
    folded = Observation.from_array(numbered(), axes="TCZYX").flatten_planes()
    assert folded.y.shape == (1, 24, 1, 32, 32)
    assert folded.channel_layout == ChannelLayout(2, 3, 4)
    np.testing.assert_allclose(folded.y.mean(axis=(0, 2, 3, 4)), 10 * np.arange(24), atol=0.1)


@pytest.mark.parametrize(
    ("together", "shape", "places"),
    [
        ("none", (1, 3, 1), [(t, z) for t in range(2) for z in range(4)]),
        ("T", (2, 3, 1), [(0, z) for z in range(4)]),
        ("Z", (1, 3, 4), [(0, 0), (1, 0)]),
        ("TZ", (2, 3, 4), [(0, 0)]),
    ],
)
def test_every_plane_is_in_one_block(together, shape, places):
    stack = numbered()
    observation = Observation.from_array(stack, axes="TCZYX")
    seen = np.full_like(stack, np.nan)
    for (times, depths), part in Stack(joint_axes=together).iter_blocks(observation):
        assert part.channel_layout.shape == shape
        places.remove((times.start, depths.start))
        seen[times, :, depths] = part.y.reshape(*shape, 32, 32)
    assert not places
    np.testing.assert_allclose(seen, stack, rtol=1e-6)


@pytest.mark.parametrize(("times", "window"), [(7, 3), (20, 6), (5, 32), (64, 32)])
def test_windows_are_of_one_length_and_leave_no_time_out(times, window):
    observation = Observation.from_array(numbered(times, 1, 1), axes="TCZYX")
    found = [here[0] for here, _ in Stack(joint_axes="T", window_length=window).iter_blocks(observation)]
    lengths = {here.stop - here.start for here in found}
    assert len(lengths) == 1
    assert max(lengths) <= window
    assert {t for here in found for t in range(here.start, here.stop)} == set(range(times))


def test_companions_are_folded_with_the_image():
    array = numbered()
    sigma = np.arange(1, 9, dtype=float).reshape(2, 1, 4, 1, 1)
    observation = Observation.from_array(
        array, axes="TCZYX", sigma=np.broadcast_to(sigma, array.shape)
    ).with_auxiliary("psf", np.ones((5, 5)))
    folded = observation.flatten_planes()
    assert folded.auxiliary["sigma"].shape == folded.y.shape
    assert folded.auxiliary["sigma"][0, :4, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert folded.auxiliary["psf"].shape == (1, 1, 1, 5, 5)


@pytest.mark.parametrize("together", ["none", "T", "Z", "TZ"])
def test_the_result_has_the_axes_that_went_in(together):
    array = np.moveaxis(numbered(), (0, 1, 2), (1, 4, 0))  # Z, T, Y, X, C
    holes = np.zeros(array.shape[:-1], bool)
    holes[2, 1, 5:9, 5:9] = True
    observation = Observation.from_array(array, axes="ZTYXC", mask=holes)
    recipe = Recipe().with_settings({**QUICK, "stack.joint_axes": together, "ensemble.size": 2})
    result = restore(observation, recipe)
    assert result.axes == "ZTYXC"
    assert result.image.shape == result.inpainted.shape == result.uncertainty.shape == array.shape
    assert (result.inpainted == holes[..., None]).all()
    seen = ~holes
    np.testing.assert_allclose((result.image + result.residual)[seen], array[seen], atol=1e-3)
    means = result.image.mean(axis=(2, 3))  # of planes that differ by ten
    assert np.array_equal(np.round(means / 10), np.round(array.mean(axis=(2, 3)) / 10))


def test_previews_of_planes_that_are_restored_together_have_their_places():
    array = numbered(3, 1, 1)[:, 0, 0]
    observation = Observation.from_array(array, axes="TYX")
    recipe = Recipe().with_settings({**QUICK, "stack.joint_axes": "T"})
    images = [
        i.image for i in iter_restoration(observation, recipe, snapshot_every=5) if i.image is not None
    ]
    assert images
    assert np.array_equal(np.round(images[-1].mean(axis=(1, 2)) / 10), [0, 1, 2])


def test_still_planes_that_are_restored_together_have_less_noise(noisy, scene):
    frames = scene + np.random.default_rng(1).normal(0, (noisy - scene).std(), (4, *scene.shape))
    observation = Observation.from_array(frames, axes="TYX")
    recipe = Recipe().with_settings({"network.channels": 16, "solver.max_steps": 300})
    errors = {}
    for together in ("none", "T"):
        result = restore(observation, recipe.with_settings({"stack.joint_axes": together}))
        errors[together] = np.sqrt(np.mean((result.image - scene) ** 2))
    assert errors["T"] < 0.9 * errors["none"]


def test_each_plane_has_its_own_noise():
    rng = np.random.default_rng(0)
    x = np.arange(64.0)
    frames = [100 * np.sin(x / 9) + rng.normal(0, sigma, (64, 64)) for sigma in (2.0, 8.0)]
    observation = Observation.from_array(frames, axes="TYX")
    result = restore(observation, Recipe().with_settings({**QUICK, "stack.joint_axes": "T"}))
    (found,) = result.provenance["noise"]["sigma"]
    np.testing.assert_allclose(found, (2, 8), rtol=0.1)


def test_times_that_the_operator_combines_cannot_be_restored_together():
    observation = Observation.from_array(numbered(3, 1, 1), axes="TCZYX")
    recipe = Recipe.preset("combine").with_settings({"stack.joint_axes": "T"})
    with pytest.raises(SettingsError, match=r"stack\.together names T, but the operator"):
        restore(observation, recipe)


@pytest.mark.parametrize(("depths", "spacing"), [(1, 1.0), (5, 1.0), (8, 3.0), (16, 1.0), (7, 0.5)])
def test_volumes_of_any_depth_come_back_as_large(depths, spacing):
    array = numbered(1, 2, depths)[0]
    header = Header(pixel_size={"Z": (spacing, "um"), "X": (1.0, "um"), "Y": (1.0, "um")})
    frame = Observation.from_array(array, axes="CZYX", header=header).flatten_planes()
    recipe = Recipe().with_settings(
        {"network.kind": "volume", "network.channels": 8, "network.depth": 3}
    )
    problem = Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))
    prior = Prior(
        problem, frame, recipe.network, recipe.network_input, recipe.output, recipe.self_supervision,
        precision=torch.float32, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert prior()[0].shape == (2 * depths, 32, 32)


def test_planes_that_are_far_apart_are_halved_later():
    network = VolumeHourglass(depth=4)

    def halvings(spacing, depths=64):
        return [network._halvings(ChannelLayout(1, 1, depths, spacing), scale) for scale in range(5)]

    assert halvings(1.0) == [0, 1, 2, 3, 4]
    assert halvings(4.0) == [0, 0, 0, 1, 2]
    assert halvings(1.0, depths=5) == [0, 1, 2, 2, 2]


def test_a_volume_sees_the_planes_above_and_below():
    """A convolution along Z carries an error of one plane into its neighbours, and no farther."""
    from napari_dip.prior.networks._layers import FoldDepth

    planes = ChannelLayout(1, 1, 6)
    body = torch.nn.Conv3d(1, 1, 3, padding=1)
    module = FoldDepth(body, planes.depths)
    z = torch.zeros((1, 6, 32, 32))
    before = module(z)
    z[0, 2] = 1
    changed = (module(z) != before).flatten(2).any(dim=-1)[0]
    assert changed.tolist() == [False, True, True, True, False, False]


PATH = [(3, 0), (1, 4), (0, 2), (5, 5)]


def drifting(noise=1.0):
    """Blobs through a window that moves along PATH, two channels; (T, C, Y, X) and its truth."""
    rng = np.random.default_rng(1)
    wide = gaussian_filter(rng.normal(0, 400, (2, 70, 80)), (0, 3, 3))
    truth = np.array([wide[:, y : y + 48, x : x + 64] for y, x in PATH])
    return truth + rng.normal(0, noise, truth.shape), truth


class TestDrift:
    @pytest.mark.parametrize("noise", [1.0, 15.0])
    def test_frames_lie_where_they_were_taken(self, noise):
        drift = FrameAlignment.from_frames(Observation.from_array(drifting(noise)[0], axes="TCYX"))
        assert [*map(tuple, drift.offsets)] == PATH
        assert drift.max_shift == (5, 5)

    def test_a_hot_pixel_that_stands_still_is_no_scene(self):
        frames, _ = drifting()
        frames[:, :, 20, 30] = 500
        assert (
            list(FrameAlignment.from_frames(Observation.from_array(frames, axes="TCYX")).offsets) == PATH
        )

    def test_what_is_laid_over_each_other_is_one_scene_and_comes_back(self):
        _, truth = drifting()
        observation = Observation.from_array(truth, axes="TCYX")
        drift = FrameAlignment(PATH, (48, 64))
        over = drift.align(observation)
        assert over.y.shape == (4, 2, 1, 53, 69)
        assert np.ptp(over.y, axis=0)[over.observed.all(axis=0)].max() < 1e-3
        assert over.observed.sum() == observation.observed.sum()
        np.testing.assert_array_equal(drift.crop_back(over.y, (1, 1)), observation.y)
        finer = over.y.repeat(2, axis=-2).repeat(3, axis=-1)
        there = observation.y.repeat(2, axis=-2).repeat(3, axis=-1)
        np.testing.assert_array_equal(drift.crop_back(finer, (2, 3)), there)

    def test_a_drifting_series_comes_back_in_its_place(self):
        frames, truth = drifting(15.0)
        sigma = np.full(frames.shape[-2:], 15.0)
        observation = Observation.from_array(frames, axes="TCYX", sigma=sigma)
        recipe = Recipe().with_settings({**QUICK, "stack.joint_axes": "T", "solver.max_steps": 150})
        run = iter_restoration(
            observation, recipe.with_settings({"stack.align": True}), snapshot_every=50
        )
        shapes = set()
        while True:
            try:
                image = next(run).image
            except StopIteration as end:
                result = end.value
                break
            shapes |= set() if image is None else {image.shape}
        assert shapes == {frames.shape}
        assert result.image.shape == result.residual.shape == result.filled.shape == frames.shape
        np.testing.assert_allclose(result.residual, frames - result.image, atol=1e-3)
        assert not result.filled.any()
        assert "frames up to 5 pixels apart were laid over each other" in result.verdict
        assert result.provenance["input"]["sha256"] == observation.digest()
        as_they_lie = restore(observation, recipe)

        def error(x):
            return np.sqrt(np.mean((x.image - truth) ** 2))

        assert error(result) < error(as_they_lie)

    def test_times_that_are_not_together_or_companions_of_another_size_are_told(self):
        observation = Observation.from_array(drifting()[0], axes="TCYX")
        with pytest.raises(SettingsError, match="name T"):
            Stack(align=True).estimate_alignment(observation)
        other = observation.with_auxiliary("guide", np.ones((96, 128)), axes="YX")
        with pytest.raises(SettingsError, match="the guide has another"):
            FrameAlignment(PATH, (48, 64)).align(other)
