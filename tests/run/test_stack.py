"""Stacks: planes that are restored jointly, and what becomes of their order."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_dip import Observation, Recipe, restore
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import SettingsError
from napari_dip.core.header import Header
from napari_dip.prior.networks.volume import VolumeHourglass
from napari_dip.run.alignment import FrameAlignment
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.stack import Stack


def numbered(times=2, channels=3, depths=4):
    """Noise whose mean in each plane is the plane's number, in the order (T, C, Z)."""
    planes = np.arange(times * channels * depths, dtype=float).reshape(times, channels, depths)
    noise = np.random.default_rng(0).normal(0, 0.1, (*planes.shape, 32, 32))
    return 10 * planes[..., None, None] + noise


def test_the_data_of_a_fit_are_in_the_order_of_times_channels_and_depths(make_data):
    data = make_data(numbered(), "TCZYX")
    assert data.y.shape == (1, 24, 32, 32)
    assert data.channel_layout == ChannelLayout(2, 3, 4)
    np.testing.assert_allclose(data.y.mean(axis=(0, 2, 3)), 10 * np.arange(24), atol=0.1)


@pytest.mark.parametrize(
    ("joint_axes", "shape", "places"),
    [
        ("none", (1, 3, 1), [(t, z) for t in range(2) for z in range(4)]),
        ("T", (2, 3, 1), [(0, z) for z in range(4)]),
        ("Z", (1, 3, 4), [(0, 0), (1, 0)]),
        ("TZ", (2, 3, 4), [(0, 0)]),
    ],
)
def test_every_plane_is_in_one_block(make_observation, joint_axes, shape, places):
    stack = numbered()
    observation = make_observation(stack, "TCZYX")
    seen = np.full_like(stack, np.nan)
    for (times, depths), part in Stack(joint_axes=joint_axes).iter_blocks(observation):
        assert part.channel_layout.shape == shape
        places.remove((times.start, depths.start))
        seen[times, :, depths] = part.y.reshape(*shape, 32, 32)
    assert not places
    np.testing.assert_allclose(seen, stack, rtol=1e-6)


@pytest.mark.parametrize(("times", "window"), [(7, 3), (20, 6), (5, 32), (64, 32)])
def test_windows_are_of_one_length_and_leave_no_time_out(make_observation, times, window):
    observation = make_observation(numbered(times, 1, 1), "TCZYX")
    stack = Stack(joint_axes="T", window_length=window)
    windows = [times_slice for (times_slice, _), _ in stack.iter_blocks(observation)]
    lengths = {along.stop - along.start for along in windows}
    assert len(lengths) == 1
    assert max(lengths) <= window
    assert {t for along in windows for t in range(along.start, along.stop)} == set(range(times))


def test_auxiliary_data_are_in_the_order_of_the_image(make_data):
    array = numbered()
    sigma = np.arange(1, 9, dtype=float).reshape(2, 1, 4, 1, 1)
    sigma = np.broadcast_to(sigma, array.shape)
    data = make_data(array, "TCZYX", sigma=sigma, auxiliary={"psf": np.ones((5, 5))})
    assert data.auxiliary["sigma"].shape == data.y.shape
    assert data.auxiliary["sigma"][0, :4, 0, 0].tolist() == [1, 2, 3, 4]
    assert data.auxiliary["sigma"][0, 12:16, 0, 0].tolist() == [5, 6, 7, 8]
    assert data.auxiliary["psf"].shape == (1, 1, 5, 5)


@pytest.mark.parametrize("joint_axes", ["none", "T", "Z", "TZ"])
def test_the_result_has_the_axes_that_went_in(fast_settings, joint_axes):
    array = np.moveaxis(numbered(), (0, 1, 2), (1, 4, 0))  # Z, T, Y, X, C
    mask = np.zeros(array.shape[:-1], bool)
    mask[2, 1, 5:9, 5:9] = True
    settings = {"stack.joint_axes": joint_axes, "ensemble.size": 2}
    recipe = Recipe().with_settings({**fast_settings, **settings})
    result = restore(array, recipe, axes="ZTYXC", mask=mask)
    assert result.axes == "ZTYXC"
    assert result.image.shape == result.inpainted.shape == result.uncertainty.shape == array.shape
    assert (result.inpainted == mask[..., None]).all()
    np.testing.assert_allclose((result.image + result.residual)[~mask], array[~mask], atol=1e-3)
    means = result.image.mean(axis=(2, 3))  # of planes that differ by ten
    assert np.array_equal(np.round(means / 10), np.round(array.mean(axis=(2, 3)) / 10))


def test_previews_of_planes_that_are_restored_jointly_have_their_places(fast_settings, make_observation):
    observation = make_observation(numbered(3, 1, 1)[:, 0, 0], "TYX")
    recipe = Recipe().with_settings({**fast_settings, "stack.joint_axes": "T"})
    run = iter_restoration(observation, recipe, snapshot_every=5)
    images = [progress.image for progress in run if progress.image is not None]
    assert images
    assert np.array_equal(np.round(images[-1].mean(axis=(1, 2)) / 10), [0, 1, 2])


def test_still_planes_that_are_restored_jointly_have_less_noise(noisy, scene):
    sigma = (noisy - scene).std()
    frames = scene + np.random.default_rng(1).normal(0, sigma, (8, *scene.shape))
    recipe = Recipe().with_settings({"network.channels": 16, "solver.max_steps": 300})
    joint = recipe.with_settings({"stack.joint_axes": "T"})
    separate_error, joint_error = (
        np.sqrt(np.mean((restore(stack, how, axes="TYX").image - scene) ** 2))
        for stack, how in ((frames[:2], recipe), (frames, joint))
    )
    # 0.53 to 0.65 of it over two precisions, AVX2 and AVX-512, and two draws of the noise.
    assert joint_error < 0.8 * separate_error


def test_each_plane_has_its_own_noise(fast_settings):
    rng = np.random.default_rng(0)
    x = np.arange(64.0)
    frames = [100 * np.sin(x / 9) + rng.normal(0, sigma, (64, 64)) for sigma in (2.0, 8.0)]
    recipe = Recipe().with_settings({**fast_settings, "stack.joint_axes": "T"})
    (sigma,) = restore(np.stack(frames), recipe, axes="TYX").provenance.noise.sigma
    np.testing.assert_allclose(sigma, (2, 8), rtol=0.1)


def test_times_that_the_operator_combines_cannot_be_restored_jointly():
    recipe = Recipe.preset("coadd").with_settings({"stack.joint_axes": "T"})
    with pytest.raises(SettingsError, match=r"stack\.joint_axes includes T, but the operator") as error:
        restore(numbered(3, 1, 1), recipe, axes="TCZYX")
    assert error.value.setting == "stack.joint_axes"


@pytest.mark.parametrize(("depths", "spacing"), [(1, 1.0), (5, 1.0), (8, 3.0), (16, 1.0), (7, 0.5)])
def test_volumes_of_any_depth_come_back_as_large(make_observation, make_prior, depths, spacing):
    array = numbered(1, 2, depths)[0]
    header = Header(pixel_size={"Z": (spacing, "um"), "X": (1.0, "um"), "Y": (1.0, "um")})
    observation = make_observation(array, "CZYX", header=header)
    recipe = Recipe().with_settings(
        {"network.kind": "volume", "network.channels": 8, "network.depth": 3}
    )
    assert make_prior(observation, recipe)()[0].shape == (2 * depths, 32, 32)


def test_planes_that_are_far_apart_are_halved_later():
    network = VolumeHourglass(depth=4)

    def halvings(spacing, depths=64):
        return [network._halvings(ChannelLayout(1, 1, depths, spacing), scale) for scale in range(5)]

    assert halvings(1.0) == [0, 1, 2, 3, 4]
    assert halvings(4.0) == [0, 0, 0, 1, 2]
    assert halvings(1.0, depths=5) == [0, 1, 2, 2, 2]


def test_a_volume_sees_the_planes_above_and_below():
    """A convolution along Z carries an error of one plane into its neighbors, and no farther."""
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


class TestAlignment:
    @pytest.mark.parametrize("noise", [1.0, 15.0])
    def test_frames_lie_where_they_were_taken(self, make_observation, noise):
        alignment = FrameAlignment.from_frames(make_observation(drifting(noise)[0], "TCYX"))
        assert [*map(tuple, alignment.offsets)] == PATH
        assert alignment.max_shift == (5, 5)

    def test_a_hot_pixel_that_stands_still_is_no_scene(self, make_observation):
        frames, _ = drifting()
        frames[:, :, 20, 30] = 500
        assert list(FrameAlignment.from_frames(make_observation(frames, "TCYX")).offsets) == PATH

    def test_aligned_frames_show_one_scene_and_come_back(self, make_observation):
        _, truth = drifting()
        observation = make_observation(truth, "TCYX")
        alignment = FrameAlignment(PATH, (48, 64))
        aligned = alignment.align(observation)
        assert aligned.y.shape == (4, 2, 1, 53, 69)
        assert np.ptp(aligned.y, axis=0)[aligned.observed.all(axis=0)].max() < 1e-3
        assert aligned.observed.sum() == observation.observed.sum()
        np.testing.assert_array_equal(alignment.crop_back(aligned.y, (1, 1)), observation.y)
        finer = aligned.y.repeat(2, axis=-2).repeat(3, axis=-1)
        expected = observation.y.repeat(2, axis=-2).repeat(3, axis=-1)
        np.testing.assert_array_equal(alignment.crop_back(finer, (2, 3)), expected)

    @pytest.mark.parametrize("noise", [1.0, 15.0])
    def test_a_scene_that_drifts_is_aligned_by_default(self, make_observation, noise):
        observation = make_observation(drifting(noise)[0], "TCYX")
        alignment = Stack(joint_axes="T").estimate_alignment(observation)
        assert [*map(tuple, alignment.offsets)] == PATH
        assert Stack(joint_axes="T", align="never").estimate_alignment(observation) is None
        assert Stack(joint_axes="Z").estimate_alignment(observation) is None
        single = observation.select_planes(slice(0, 1), slice(0, 1))
        assert Stack(joint_axes="T").estimate_alignment(single) is None

    @pytest.mark.parametrize("scene", ["still", "noise", "two objects", "deforming"])
    def test_a_scene_that_does_not_drift_stays_as_it_is(self, make_observation, scene):
        rng = np.random.default_rng(2)
        frames = np.zeros((6, 96, 112))
        y, x = np.mgrid[:96, :112].astype(float)
        wide = gaussian_filter(rng.normal(0, 400, (116, 132)), 3)
        for t, frame in enumerate(frames):
            if scene == "still":
                frame[:] = wide[:96, :112]
            elif scene == "two objects":
                frame[20 + 3 * t : 30 + 3 * t, 20:30] = frame[60 - 3 * t : 70 - 3 * t, 70:80] = 100
            elif scene == "deforming":
                places = y + 10 + 4 * np.sin(x / 15 + t), x + 10 + 4 * np.cos(y / 15 + t)
                frame[:] = map_coordinates(wide, places, order=1)
        observation = make_observation(frames + rng.normal(0, 10, frames.shape), "TYX")
        assert Stack(joint_axes="T").estimate_alignment(observation) is None

    def test_a_drifting_series_comes_back_in_its_place(self, fast_settings, make_observation):
        frames, truth = drifting(15.0)
        sigma = np.full(frames.shape[-2:], 15.0)
        observation = make_observation(frames, "TCYX", sigma=sigma)
        settings = {"network.depth": 2, "stack.joint_axes": "T", "solver.max_steps": 150}
        recipe = Recipe().with_settings({**fast_settings, **settings})
        run = iter_restoration(observation, recipe, snapshot_every=50)
        shapes = {progress.image.shape for progress in run if progress.image is not None}
        result = run.result
        assert shapes == {frames.shape}
        assert result.image.shape == result.residual.shape == result.inpainted.shape == frames.shape
        np.testing.assert_allclose(result.residual, frames - result.image, atol=1e-3)
        assert not result.inpainted.any()
        assert "frames aligned, with shifts of up to 5 pixels" in result.summary
        assert result.provenance.input.sha256 == observation.digest()
        without = restore(observation, recipe.with_settings({"stack.align": "never"}))

        def error(x):
            return np.sqrt(np.mean((x.image - truth) ** 2))

        # 0.60 of it over two precisions, AVX2 and AVX-512.
        assert error(result) < 0.8 * error(without)

    def test_times_that_are_not_joint_or_auxiliary_data_of_another_size_are_refused(
        self, make_observation
    ):
        observation = make_observation(drifting()[0], "TCYX")
        with pytest.raises(SettingsError, match=r"include T in stack\.joint_axes") as error:
            Stack(align="always").estimate_alignment(observation)
        assert error.value.setting == "stack.align"
        other = observation.with_auxiliary("guide", np.ones((96, 128)), axes="YX")
        with pytest.raises(SettingsError, match="the guide has another") as error:
            FrameAlignment(PATH, (48, 64)).align(other)
        assert Stack(joint_axes="T").estimate_alignment(other) is None
        assert error.value.setting == "stack.align"


@pytest.mark.parametrize(
    ("joint", "axes", "wanted"), [("Z", "TYX", "ZYX"), ("T", "ZYX", "TYX"), ("Z", "TCYX", "ZCYX")]
)
def test_a_stack_along_another_axis_is_refused_with_the_axes_that_it_needs(joint, axes, wanted):
    shape = [{"T": 3, "Z": 3, "C": 2}.get(letter, 40) for letter in axes]
    observation = Observation.from_array(np.random.default_rng(0).normal(size=shape), axes=axes)
    with pytest.raises(SettingsError, match=f"say so with --axes {wanted} or axes='{wanted}'"):
        next(Stack(joint_axes=joint).iter_blocks(observation))
    again = Observation.from_array(observation.to_input_axes(observation.y), axes=wanted)
    assert len(list(Stack(joint_axes=joint).iter_blocks(again))) == 1


def test_planes_along_the_named_axis_or_none_at_all_are_accepted():
    rng = np.random.default_rng(0)
    for shape, axes in (((3, 2, 40, 40), "TZYX"), ((40, 40), "YX")):
        observation = Observation.from_array(rng.normal(size=shape), axes=axes)
        for joint in ("T", "Z", "TZ", "none"):
            assert list(Stack(joint_axes=joint).iter_blocks(observation))
