"""Real files on which a restoration was once finite, plausible and wrong."""

import numpy as np
import pytest

import napari_dip as dip
from napari_dip import Recipe, restore
from napari_dip.core.errors import ObservationError, ReadError, SettingsError
from napari_dip.io.files import read_first_image

pytestmark = pytest.mark.slow


@pytest.fixture
def restored(data_folder):
    """Restore a file of the data folder in few steps; returns the observation and the result."""

    def run(name, preset="denoise", crop=None, **settings):
        settings = {"solver.max_steps": 150, **settings}
        recipe = Recipe.preset(preset).with_quality("fast").with_settings(settings)
        observation = dip.read(data_folder / name)
        if crop:
            observation = observation.crop(*crop)
        return observation, restore(observation, recipe)

    return run


def test_an_error_plane_with_its_pedestal_is_kept(restored):
    name = "astronomy/decam_sci_err_dq_assembled.fits"
    _, result = restored(name, crop=(slice(0, 96), slice(0, 96)))
    noise = result.provenance.noise
    assert noise.sigma[0][0] == pytest.approx(28.4, abs=0.3)
    assert "measured" not in str(result.assessment)


@pytest.mark.parametrize(("name", "sigma"), [("radio_beam_4d", 2e-4), ("radio_beam_pbcor_4d", 4e-4)])
def test_noise_as_wide_as_a_radio_beam_is_found(restored, name, sigma):
    observation, result = restored(f"cases/astronomy/{name}.fits", **{"solver.max_steps": 100})
    assert result.provenance.noise.sigma[0][0] == pytest.approx(sigma, rel=0.15)
    assert result.assessment.level != "failed"
    y, image = (np.squeeze(values) for values in (observation.y, result.image))
    empty = np.abs(y) < 3 * sigma
    assert np.std(image[empty]) < 0.7 * np.std(y[empty])
    source = y > 5e-3
    assert source.sum() > 10
    assert image[source].sum() == pytest.approx(y[source].sum(), rel=0.05)


@pytest.mark.parametrize(("name", "share"), [("extended", 0.01), ("sparse", 0.1)])
def test_the_flux_of_sparse_counts_is_conserved(restored, name, share):
    observation, result = restored(f"cases/astronomy/chandra_{name}_counts.fits")
    assert "Poisson" in result.provenance.noise.source
    assert result.image.sum() == pytest.approx(observation.y.sum(), rel=share)


def test_off_limb_pixels_stay_as_they_were(restored):
    crop = (slice(0, 64), slice(0, 64))
    observation, result = restored("cases/astronomy/hmi_off_limb_nan.fits", crop=crop)
    outside = np.isnan(np.squeeze(observation.y))
    assert 100 < outside.sum() < outside.size
    np.testing.assert_array_equal(np.isnan(result.image), outside)


def test_a_border_of_zeros_stays_zero_and_does_not_harm_its_neighbors(restored):
    observation, result = restored("cases/astronomy/zero_border.fits")
    outside = np.squeeze(observation.outside) == 0
    assert np.count_nonzero(outside) == np.count_nonzero(result.image == 0) == 3436
    assert not result.image[outside].any()
    assert result.assessment.level != "failed"


def test_a_stack_diverges_in_no_precision(restored):
    crop = (slice(0, 32), slice(0, 32))
    name = "cases/microscopy/ome_xy_nm_z_um.ome.tif"
    _, result = restored(name, "volume", crop, **{"solver.max_steps": 120})
    assert np.isfinite(result.image).all()
    assert result.assessment.level != "failed"


def test_detected_stars_keep_their_flux(restored):
    observation, result = restored("cases/astronomy/lsst_mask_named.fits")
    y, image = np.squeeze(observation.y), np.squeeze(result.image)
    bright = y > 10 * 20.7
    assert bright.sum() > 200
    assert image[bright].sum() == pytest.approx(y[bright].sum(), rel=0.03)
    assert not result.inpainted.any()


def test_variances_of_a_bright_sky_do_not_add_noise(restored):
    observation, result = restored("cases/astronomy/ccddata_variance_bright_sky.fits")
    y, image = np.squeeze(observation.y), np.squeeze(result.image)
    assert result.provenance.noise.sigma[0][0] == pytest.approx(71, abs=1)
    sky = np.abs(y - np.median(y)) < 3 * 71
    assert image[sky].std() < 0.5 * y[sky].std()
    assert result.assessment.level == "good"


def test_outside_a_drizzled_footprint_all_stays_as_it_was(restored):
    observation, result = restored("cases/astronomy/drz_wht_ctx.fits")
    outside = np.squeeze(observation.outside) == 0
    assert outside.sum() == 3436
    assert not result.image[outside].any()
    assert not result.inpainted.any()
    assert "3,436 pixels outside the image left as they were" in result.summary


@pytest.mark.parametrize(
    ("name", "planes"),
    [("ome_aborted_acquisition.ome.tif", "2 of 8 planes have"), ("zero_frame.tif", "1 of 6 planes has")],
)
def test_the_summary_names_lost_frames(restored, name, planes):
    _, result = restored(f"cases/microscopy/{name}", **{"solver.max_steps": 5})
    assert f"{planes} one value or none" in result.summary


def test_target_pixels_of_kepler_are_in_a_table(data_folder):
    with pytest.raises(ReadError, match=r"no image to restore.*in a table, PIXELS, one frame a row"):
        dip.read(data_folder / "cases/astronomy/target_pixels_tpf.fits")


@pytest.mark.parametrize(
    ("name", "preset", "said", "axes"),
    [("plain_zstack", "volume", "TYX", "ZYX"), ("time_as_slices", "time-series", "ZYX", "TYX")],
)
def test_a_preset_says_which_axis_it_needs(data_folder, fast_settings, name, preset, said, axes):
    path = data_folder / f"cases/microscopy/{name}.tif"
    recipe = Recipe.preset(preset).with_settings(fast_settings)
    assert dip.read(path).axes == said
    with pytest.raises(SettingsError, match=f"if they are {axes[0]}, say so with --axes {axes}"):
        restore(dip.read(path), recipe)
    assert restore(dip.read(path, axes=axes), recipe).axes == axes


@pytest.mark.parametrize("depths", [5, 7])
def test_a_psf_with_depths_sharpens_a_volume(data_folder, depths):
    folder = data_folder / "cases/microscopy"
    stack = dip.read(folder / "decon_stack5.tif")
    psf = read_first_image(folder / f"decon_psf{depths}.tif").pixels
    observation = stack.with_auxiliary("psf", psf, axes="ZYX")
    with pytest.raises(ObservationError, match=f"the PSF has {depths} planes: .*deconvolve-volume"):
        restore(observation, Recipe.preset("deconvolve"))
    steps = {"solver.max_steps": 3, "ensemble.size": 1}
    result = restore(observation, Recipe.preset("deconvolve-volume").with_settings(steps))
    assert result.image.shape == stack.y.shape[2:]
    assert "planes as given" in result.summary
