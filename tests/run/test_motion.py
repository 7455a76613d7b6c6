"""Motion correction from the data to the file: poses, images, records."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

import napari_dip as dip
from napari_dip import ObservationError, Recipe, SettingsError, iter_restore, restore
from napari_dip.core.provenance import Provenance
from napari_dip.datasets import moving_head
from napari_dip.io.mri.arrays import kspace_image
from napari_dip.physics.operators.rigid_motion import RigidMotion
from napari_dip.run.api._mri import _split_shots
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.reselect import reselect_step
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.warm_start import WarmStart

SMALL = {
    "network.channels": 16,
    "network.depth": 3,
    "solver.max_steps": 200,
    "compute.device": "cpu",
    "compute.precision": "float32",
}


@pytest.fixture(scope="module")
def head():
    return moving_head(1, side=48, coils=4, shots=6, acceleration=1, size=1.5)


@pytest.fixture(scope="module")
def observation(head):
    maps = np.concatenate((head.maps.real, head.maps.imag))
    kspace = kspace_image(head.kspace, "", 0).to_observation()
    return kspace.with_auxiliary("coil_maps", maps, axes="CYX")


@pytest.fixture(scope="module")
def result(observation):
    return restore(observation, Recipe.preset("mri-motion").with_settings(SMALL))


def error(image, truth):
    return np.sqrt(np.mean((np.hypot(*image) - np.abs(truth)) ** 2))


def test_motion_is_found_and_the_image_is_sharper_than_without(head, observation, result):
    still = Recipe.preset("dynamic-mri").with_settings({**SMALL, "network.kind": "hourglass"})
    merged = kspace_image(head.kspace.sum(axis=0), "", 0).to_observation()
    maps = observation.auxiliary["coil_maps"][0, :, 0]
    plain = restore(merged.with_auxiliary("coil_maps", maps, axes="CYX"), still)
    assert result.axes == "CYX"
    assert result.image.shape == (2, 48, 48)
    assert result.motion.shape == (6, 3)
    found = result.motion - result.motion.mean(axis=0)
    truth = head.motion - head.motion.mean(axis=0)
    assert np.sqrt(np.mean((found - truth)[:, 0] ** 2)) < 0.4
    assert np.sqrt(np.mean((found - truth)[:, 1:] ** 2)) < 0.25
    assert error(result.image, head.truth) < 0.6 * error(plain.image, head.truth)
    assert "motion of up to" in result.summary


def test_the_record_of_the_motion_survives_files(result, tmp_path):
    path = tmp_path / "head.fits"
    dip.write(path, result)
    table = fits.getdata(path, "MOTION")
    np.testing.assert_array_equal(table["EXPOSURE"], np.arange(1, 7))
    assert set(table["SLICE"]) == {1}
    np.testing.assert_allclose(table["ANGLE"], result.motion[:, 0], atol=1e-4)
    np.testing.assert_allclose(table["X"], result.motion[:, 2], atol=1e-4)
    assert fits.getheader(path, "MOTION")["TUNIT3"] == "deg"
    again = Provenance.from_dict(result.metadata)
    assert again.operator.motion == result.provenance.operator.motion
    dip.write(path, result, overwrite=True)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus].count("MOTION") == 1


def test_shots_may_be_given_as_the_number_of_each_line(head):
    lines = (head.kspace[:, 0] != 0).any(axis=-1)
    merged, shots = head.kspace.sum(axis=0), lines.argmax(axis=0)
    np.testing.assert_array_equal(_split_shots(merged, shots + 3), head.kspace)
    merged[:, -2:] = 0  # lines that were not measured belong to no shot
    shots[-2:] = -1
    assert len(_split_shots(merged, shots)) == len(head.kspace)
    with pytest.raises(SettingsError, match="load the file first"):
        dip.correct_motion("kspace.npy", shots=shots)
    with pytest.raises(ObservationError, match="one number for each line"):
        dip.correct_motion(merged, head.maps, shots=shots[1:])
    with pytest.raises(ObservationError, match="there is only one shot"):
        dip.correct_motion(merged, head.maps)


def test_an_interrupted_run_goes_on_bit_for_bit(observation, tmp_path):
    recipe = Recipe.preset("mri-motion").with_settings(
        {**SMALL, "network.channels": 8, "solver.max_steps": 120, "ensemble.size": 2}
    )

    def run(reports=None):
        checkpoint = Checkpoint.of_run(tmp_path, recipe, observation, save_every_s=0)
        start = WarmStart(recipe, checkpoint=checkpoint)
        with iter_restoration(observation, recipe, warm_start=start) as restoration:
            for number, progress in enumerate(restoration, 1):
                if number == reports:
                    return progress
            return checkpoint, restoration.result

    checkpoint, whole = run()
    checkpoint.remove()
    assert run(2).member == 0
    while run(6).member == 0:
        pass
    _, resumed = run()
    assert "an interrupted run was continued" in resumed.provenance.notes
    np.testing.assert_array_equal(resumed.image, whole.image)
    np.testing.assert_array_equal(resumed.motion, whole.motion)
    np.testing.assert_array_equal(resumed.residual, whole.residual)


@pytest.fixture(scope="module")
def movie():
    return RigidMotion().make_example(seed=3)


def test_a_movie_that_turns_becomes_one_image(movie):
    recipe = Recipe.preset("coadd-rotation").with_settings(SMALL)
    run = iter_restoration(movie, recipe, snapshot_every=50)
    images = {progress.step: progress.image for progress in run if progress.image is not None}
    result = run.result
    assert (result.axes, result.residual_axes) == ("YX", "YX")
    assert result.image.shape == result.residual.shape == (48, 56)
    assert result.motion.shape == (6, 3)
    np.testing.assert_array_equal(result.motion[0], 0)
    assert "motion of up to" in result.summary
    assert result.provenance.input.sha256 == movie.digest()
    assert Recipe.parse(result.provenance.recipe, source="") == recipe
    assert "(scatter of the frames)" in result.summary
    assert np.median(result.noise_std) == pytest.approx(5 / 6**0.5, rel=0.1)
    mean = result.observation.y[0, 0, 0]
    np.testing.assert_allclose(result.residual, mean - result.image, atol=1e-3)

    earlier = reselect_step(result, images[50], 50)
    np.testing.assert_allclose(earlier.residual, mean - images[50], atol=1e-3)
    np.testing.assert_array_equal(earlier.motion, result.motion)
    with pytest.raises(SettingsError, match="nothing between both"):
        result.at_strength(0.5)
    for changes, reason in (
        ({"strength": 0.5}, "nothing between both"),
        ({"stack": {"joint_axes": "T"}}, "choose none, or Z"),
        ({"noise": {"censored": True}}, "mask what is saturated"),
        ({"signal": {"kind": "decay"}}, "makes one image of all frames first"),
    ):
        with pytest.raises(SettingsError, match=reason):
            restore(movie, recipe.replace(**changes))


def test_coadd_with_rotation_is_the_preset(movie):
    frames = movie.y[:, 0, 0]
    options = {"max_steps": 20, "device": "cpu", "quality": "fast"}
    found = dip.coadd(frames, rotation=True, full_output=True, **options)
    assert found.image.shape == frames.shape[1:]
    assert found.motion.shape == (6, 3)
    for wrong, message in (
        ({"psf": np.ones((3, 3))}, "leave psf"),
        ({"scale_factor": 2}, "leave psf"),
        ({"sigma": 5.0}, "leave it at automatic"),
        ({"noise": "poisson", "gain": 1.5}, "leave it at gaussian"),
    ):
        with pytest.raises(SettingsError, match=message):
            dip.coadd(frames, rotation=True, **options, **wrong)
    with pytest.raises(ObservationError, match="only one frame"):
        dip.coadd(frames[:1], rotation=True, **options)


def test_stripes_of_frames_are_removed_before_they_are_combined(movie):
    offsets = np.random.default_rng(0).normal(0, 15, (6, 1, 1, 48, 1)).astype(np.float32)
    striped = replace(movie, y=movie.y + offsets)
    recipe = Recipe.preset("coadd-rotation").with_quality("instant")
    kept, removed = (
        restore(striped, recipe.replace(noise={"stripes": stripes})) for stripes in ("off", "rows")
    )
    clean = restore(movie, recipe)
    errors = [np.std(found.image - clean.image) for found in (kept, removed)]
    assert errors[1] < 0.8 * errors[0]
    assert "rows" in removed.summary


def test_other_recipes_have_no_motion(fast_recipe, make_observation):
    rng = np.random.default_rng(0)
    run = iter_restore(make_observation(rng.normal(100, 5, (48, 48))), fast_recipe)
    with run:
        for _ in run:
            pass
        assert run.result.motion is None
