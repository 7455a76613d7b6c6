"""A scene that moves between exposures: the transform, and the search for its poses."""

import numpy as np
import pytest
import torch

from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.datasets import moving_head
from napari_dip.io.mri.arrays import kspace_image
from napari_dip.physics.operators import rigid_motion
from napari_dip.physics.operators._mean_of_frames import to_scene
from napari_dip.physics.operators._rigid_motion import relative_poses
from napari_dip.physics.operators.rigid_motion import RigidMotion, RigidMotionOperator
from napari_dip.physics.operators.sense_motion import SenseMotion, _reference

POSES = torch.tensor([[0.0, 0.0, 0.0], [0.2, 1.7, -2.3], [-0.1, -0.4, 3.1]])


def blobs(y, x):
    """Two Gaussian blobs, which no pixel undersamples."""
    return np.exp(-((y - 9) ** 2 + (x + 6) ** 2) / 40) + 0.5 * np.exp(
        -((y + 8) ** 2 + (x - 11) ** 2) / 60
    )


def places(side):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return y, x


def in_exposure(pose, y, x, aspect):
    """Where the scene at (y, x) of an exposure comes from."""
    angle, down, across = float(pose[0]), y - float(pose[1]), x - float(pose[2])
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * down - sin / aspect * across, sin * aspect * down + cos * across


def errors(found, motion):
    """R.m.s. differences of motion (T, 3), in degrees and pixels, after a common pose is taken out."""
    truth = motion - motion.mean(axis=0)
    difference = np.asarray(found) - np.asarray(found).mean(axis=0) - truth
    return np.sqrt((difference**2).mean(axis=0))


def fit_data(head):
    observation = kspace_image(head.kspace, "", 0).to_observation()
    maps = np.concatenate((head.maps.real, head.maps.imag))
    observation = observation.with_auxiliary("coil_maps", maps, axes="CYX")
    return FitData.from_observation(observation, keep_times=True)


@pytest.mark.parametrize("side", [95, 96])
@pytest.mark.parametrize("aspect", [1.0, 1.25])
def test_a_scene_is_moved_as_the_pose_says(side, aspect):
    operator = RigidMotionOperator(POSES, (1, side, side), 0, aspect)
    y, x = places(side)
    scene = torch.from_numpy(blobs(y, x)[None].astype(np.float32))
    frames = operator(scene)[:, 0]
    for frame, pose in zip(frames, POSES, strict=True):
        expected = blobs(*in_exposure(pose, y, x, aspect))
        np.testing.assert_allclose(frame, expected, atol=2e-5)
    norms = frames.square().sum(dim=(1, 2))
    torch.testing.assert_close(norms, scene.square().sum().expand(3), rtol=1e-5, atol=0)


def test_its_derivatives_are_those_of_the_data():
    side = 96
    operator = RigidMotionOperator(POSES, (1, side, side), 0, 1.25)
    scene = torch.from_numpy(blobs(*places(side))[None].astype(np.float32))
    derivatives, step = operator.derivatives(scene), 1e-2
    for part in range(3):
        change = torch.zeros(3)
        change[part] = step
        sides = []
        for sign in (1, -1):
            operator.set_poses(POSES + sign * change)
            sides.append(operator(scene))
        operator.set_poses(POSES)
        slope = (sides[0] - sides[1]) / (2 * step)
        assert (slope - derivatives[part]).abs().max() < 5e-3 * slope.abs().max()


def test_poses_relative_to_one_make_the_same_frames_of_the_scene_as_it_was_there():
    side = 96
    scene = torch.from_numpy(blobs(*places(side))[None].astype(np.float32))
    operator = RigidMotionOperator(POSES, (1, side, side), 0, 1.25)
    frames = operator(scene)
    relative = relative_poses(POSES, 1, 1.25)
    np.testing.assert_array_equal(relative[1], 0)
    operator.set_poses(relative)
    torch.testing.assert_close(operator(frames[1]), frames, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [RigidMotion(), SenseMotion()])
def test_motion_is_found_in_the_example(settings):
    example = settings.make_example(seed=1)
    rng = np.random.default_rng(1)
    if settings.kind == "rigid-motion":
        rng.uniform(8, 48, (20, 2))
        motion = rng.uniform(-1, 1, (6, 3)) * [4, 2, 2]
    else:
        motion = rng.uniform(-1, 1, (8, 3)) * [3, 2, 2]
    motion[0] = 0
    operator = settings.build(FitData.from_observation(example, keep_times=True))
    angle, down, across = errors(operator.motion, motion)
    assert angle < 0.5
    assert max(down, across) < 0.15
    assert operator.findings == ()


def test_large_jumps_of_a_head_are_found():
    head = moving_head(0, side=96, shots=12, motion="jumps", size=5)
    operator = SenseMotion().build(fit_data(head))
    angle, down, across = errors(operator.motion, head.motion)
    assert angle < 0.3
    assert max(down, across) < 0.2


def test_a_head_that_keeps_still_does_not_move():
    operator = SenseMotion().build(fit_data(moving_head(0, side=64, shots=8, motion="none")))
    assert np.abs(operator.motion[:, 0]).max() < 0.5
    assert np.abs(operator.motion[:, 1:]).max() < 0.2


def test_a_shot_within_which_the_head_moves_counts_little():
    head = moving_head(3, side=64, shots=8, acceleration=1, motion="drift", size=2, unsteady=1)
    operator = SenseMotion().build(fit_data(head))
    weights = operator.data_weights.flatten()
    assert weights.min() < 0.5
    assert (weights == 1).sum() >= 6
    (finding,) = operator.findings
    worst = int(weights.argmin()) + 1
    assert f"shot {worst} of 8: it fits no single pose" in finding.reason


def test_masked_frames_and_other_backgrounds_are_no_motion():
    example = RigidMotion().make_example(seed=2)
    observed, y = example.observed.copy(), example.y.copy()
    observed[:, :, :, 5:12, 20:40] = False
    y += 30 * np.arange(6)[:, None, None, None, None].astype(np.float32)
    y[~observed] = np.nan
    data = FitData(y=y[:, :, 0], observed=observed[:, :, 0])
    before = RigidMotion().build(FitData.from_observation(example, keep_times=True))
    after = RigidMotion().build(data)
    np.testing.assert_allclose(after.motion[:, 1:], before.motion[:, 1:], atol=0.2)
    np.testing.assert_allclose(after.background.flatten(), 30 * np.arange(6), atol=3)
    kept = RigidMotion(match_background=False).build(data)
    assert kept.background == 0.0


def test_a_frame_without_data_is_named_and_no_reference():
    example = RigidMotion().make_example(seed=2)
    y = example.y[:, :, 0] + 30 * np.arange(6, dtype=np.float32)[:, None, None, None]
    observed = np.ones(y.shape, bool)
    y[0], observed[0] = np.nan, False
    operator = RigidMotion().build(FitData(y=y, observed=observed))
    assert operator.reference == 1
    np.testing.assert_array_equal(operator.motion[1], 0)
    np.testing.assert_allclose(operator.background.flatten()[1:], 30 * np.arange(5), atol=3)
    assert operator.data_weights.flatten().tolist() == [0, 1, 1, 1, 1, 1]
    (finding,) = operator.findings
    assert finding.reason == "frame 1 of 6: nothing was measured"


def test_frames_of_which_a_third_is_known_are_registered():
    example = RigidMotion().make_example(seed=1)
    y, observed = example.y[:, :, 0].copy(), np.zeros(example.y[:, :, 0].shape, bool)
    observed[..., ::3] = True
    y[~observed] = np.nan
    whole = RigidMotion().build(FitData.from_observation(example, keep_times=True))
    found = RigidMotion().build(FitData(y=y, observed=observed))
    np.testing.assert_allclose(found.motion[:, 1:], whole.motion[:, 1:], atol=0.5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [(RigidMotion(), "there is only one frame"), (SenseMotion(), "there is only one shot")],
)
def test_one_exposure_has_no_motion(settings, reason):
    data = FitData.from_observation(settings.make_example(0).select_planes(slice(1), slice(1)))
    with pytest.raises(ObservationError, match=reason):
        settings.build(data)


def test_the_reference_is_the_shot_with_the_center_along_either_axis():
    head = moving_head(0, side=48, coils=2, shots=4, acceleration=1, motion="none", order="sequential")
    for kspace in (head.kspace, head.kspace.swapaxes(-1, -2)):
        observation = kspace_image(kspace, "", 0).to_observation()
        assert _reference(FitData.from_observation(observation, keep_times=True)) in (1, 2)


def test_a_fit_corrects_poses():
    example = RigidMotion().make_example(seed=0)
    data = FitData.from_observation(example, keep_times=True)
    operator = RigidMotion().build(data)
    y, observed = torch.from_numpy(data.y.copy()) - operator.background, torch.ones(data.y.shape).bool()
    found, scene = operator.poses, y[:1].mean(dim=0)
    scene = torch.nn.functional.pad(scene, 4 * ((operator.scene_shape[1] - y.shape[2]) // 2,), value=50)
    for _ in range(2):  # the scene that the frames show at these poses, roughly
        scene = operator.adjoint(y - 50) / len(y) + 50
    operator.set_poses(found + torch.tensor([0.02, 0.4, -0.3]) * (torch.arange(6)[:, None] == 3))
    for _ in range(10):
        operator.adapt(scene, y, observed)
    assert (operator.poses - found)[3, 1:].abs().max() < 0.1
    assert (operator.poses - found)[3, 0].abs() < 0.01
    np.testing.assert_array_equal(operator.poses[0], 0)  # the reference
    operator.reset()
    np.testing.assert_array_equal(operator.poses, found)


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_motion_does_not_depend_on_the_unit(unit):
    example = RigidMotion().make_example(seed=1)
    data = FitData.from_observation(example, keep_times=True)
    other = FitData(y=(data.y * unit).astype(np.float32), observed=data.observed)
    operators = [RigidMotion().build(each) for each in (data, other)]
    np.testing.assert_allclose(operators[1].motion, operators[0].motion, atol=0.01)
    observed = torch.ones(data.y.shape).bool()
    for operator, each in zip(operators, (data, other), strict=True):
        y = torch.from_numpy(each.y.copy()) - operator.background
        operator.adapt(operator.adjoint(y) / len(y), y, observed)
    np.testing.assert_allclose(operators[1].motion, operators[0].motion, atol=0.01)


def test_shots_of_which_the_first_level_sees_nothing_are_no_obstacle():
    head = moving_head(0, side=64, shots=8, acceleration=1, motion="none", order="sequential")
    operator = SenseMotion().build(fit_data(head))
    assert np.isfinite(operator.motion).all()
    assert operator.findings == ()
    assert np.abs(operator.motion[:, 1:]).max() < 1


def turning_frames(number, *, noise=3.0, size=64):
    """Noisy frames of some cells, what they show, and their motion."""
    rng = np.random.default_rng(5)
    motion = np.column_stack([rng.uniform(-4, 4, number), *rng.uniform(-2, 2, (2, number))])
    motion[0] = 0
    places, widths = rng.uniform(-36, 36, (60, 2)), rng.uniform(2, 4, 60)
    grid = np.mgrid[:size, :size] - (size - 1) / 2
    frames = np.zeros((number, size, size))
    for frame, (angle, *shift) in zip(frames, np.deg2rad(motion) * [1, *2 * [180 / np.pi]], strict=True):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        for place, width in zip(places, widths, strict=True):
            y, x = grid - (turn @ place + shift)[:, None, None]
            frame += 50 * np.exp(-(y**2 + x**2) / (2 * width**2))
    return (frames + rng.normal(100, noise, frames.shape)).astype(np.float32), frames[0] + 100, motion


@pytest.mark.parametrize("number", [3, 12])
def test_the_mean_of_turning_frames_and_its_noise_are_those_of_the_scene(number):
    frames, truth, motion = turning_frames(number)
    frames[1, 20:30, 20:24] = np.nan  # missing
    frames[2] += 40  # another background
    reduced, found = RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))
    assert (reduced.axes, reduced.y.shape) == ("YX", (1, 1, 1, 64, 64))
    assert np.abs(found - motion).max() < 0.25
    error = reduced.y[0, 0, 0] - truth
    sigma = reduced.auxiliary["sigma"][0, 0, 0]
    inside = (slice(10, -10),) * 2
    np.testing.assert_allclose(sigma[inside], 3 / number**0.5, rtol=0.5)
    assert np.median(sigma[inside]) == pytest.approx(3 / number**0.5, rel=0.1)
    assert np.std(error[inside] / sigma[inside]) == pytest.approx(1, abs=0.12)
    assert abs(error[inside].mean()) < 0.5


def test_the_mean_has_the_channels_depths_and_gaps_of_the_frames():
    frames, _, motion = turning_frames(4)
    frames[:, :4] = np.nan  # the border, which other frames do not show either
    stack = np.stack([np.stack([frames, 5 * frames], 1)] * 2, 2)
    observation = Observation.from_array(stack, axes="TCZYX", sigma=np.full(stack.shape, 3.0))
    reduced, found = RigidMotion().reduce(observation)
    assert (reduced.axes, reduced.y.shape) == ("CZYX", (1, 2, 2, 64, 64))
    assert np.abs(found - motion).max() < 0.25
    np.testing.assert_allclose(reduced.y[0, 1], 5 * reduced.y[0, 0], rtol=1e-3)
    sigma = reduced.auxiliary["sigma"]
    np.testing.assert_allclose(sigma[0, 1], 5 * sigma[0, 0], rtol=1e-2)
    assert not reduced.observed[..., 0, :].any()
    assert reduced.observed[..., 8:-8, 8:-8].all()
    np.testing.assert_array_equal(np.isfinite(reduced.y), reduced.observed)


@pytest.mark.parametrize("known", [range(1, 5), [1], [0]])
def test_a_channel_that_only_some_frames_have_keeps_its_level_and_noise(known):
    frames, truth, _ = turning_frames(5)
    colors = np.stack([frames, 2 * frames], axis=1)
    for number in set(range(5)) - set(known):
        colors[number, 1] = np.nan
    reduced, _ = RigidMotion().reduce(Observation.from_array(colors, axes="TCYX"))
    inside = (slice(12, -12),) * 2
    image, sigma = reduced.y[0, 1, 0][inside], reduced.auxiliary["sigma"][0, 1, 0][inside]
    assert reduced.observed[0, 1, 0][inside].all()
    assert abs(np.median(image - 2 * truth[inside])) < 1.5
    assert np.median(sigma) == pytest.approx(6 / len(list(known)) ** 0.5, rel=0.15)
    assert np.std(image - 2 * truth[inside]) == pytest.approx(np.median(sigma), rel=0.2)


@pytest.mark.parametrize(("number", "factor"), [(3, 10), (5, 10), (4, 2)])
def test_the_noise_of_the_mean_is_right_where_a_frame_is_noisier(number, factor):
    frames, truth, _ = turning_frames(number)
    rng = np.random.default_rng(1)
    frames[2] += rng.normal(0, 3 * (factor**2 - 1) ** 0.5, frames[2].shape)
    frames[:2, :, 40:] = np.nan  # which only the noisy frame, and others after it, show
    reduced, _ = RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))
    error = (reduced.y[0, 0, 0] - truth) / reduced.auxiliary["sigma"][0, 0, 0]
    for inside in ((slice(10, -10), slice(10, 32)), (slice(10, -10), slice(46, 56))):
        assert np.nanstd(error[inside]) == pytest.approx(1, abs=0.25)


def test_a_frame_that_is_there_twice_is_refused():
    frames, *_ = turning_frames(4)
    frames[3] = frames[1]
    with pytest.raises(ObservationError, match="frames 2 and 4 are the same"):
        RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))
    frames[[1, 3]] = np.nan  # lost
    RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))


def test_cosmic_rays_raise_the_noise_only_around_them():
    frames, *_ = turning_frames(5)
    clean, _ = RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))
    rng = np.random.default_rng(2)
    for frame in frames[:3]:
        frame[tuple(rng.integers(16, 48, 2))] = 3000
    reduced, _ = RigidMotion().reduce(Observation.from_array(frames, axes="TYX"))
    sigmas = [np.median(one.auxiliary["sigma"]) for one in (clean, reduced)]
    assert sigmas[1] < 2 * sigmas[0]
    assert reduced.auxiliary["sigma"].max() > 20 * sigmas[0]


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_the_mean_does_not_depend_on_the_unit(unit):
    frames, *_ = turning_frames(4)
    (one, _), (other, _) = (
        RigidMotion().reduce(Observation.from_array(scale * frames, axes="TYX")) for scale in (1, unit)
    )
    np.testing.assert_allclose(other.y / unit, one.y, rtol=1e-4)
    np.testing.assert_allclose(other.auxiliary["sigma"] / unit, one.auxiliary["sigma"], rtol=1e-2)


def test_a_long_movie_is_searched_on_larger_pixels(monkeypatch):
    frames, _, motion = turning_frames(5)
    monkeypatch.setattr(rigid_motion, "MAX_SEARCHED", frames.size // 2)
    operator = RigidMotion().build(
        FitData.from_observation(Observation.from_array(frames, axes="TYX"), keep_times=True)
    )
    assert np.abs(operator.motion - motion).max() < 0.5


def test_frames_on_the_grid_of_the_scene():
    noise = torch.rand((2, 50, 58), generator=torch.Generator().manual_seed(0))
    scene = torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3)
    poses = torch.tensor([[0.0, 0.0, 0.0], [0.1, 2.3, -1.7]])
    operator = RigidMotionOperator(poses, (2, 40, 48), 5, 1.25)
    inside = (..., slice(14, -14), slice(14, -14))
    back = to_scene(operator, operator(scene))
    for number in range(2):
        assert (back[number] - scene)[inside].abs().max() < 0.03
