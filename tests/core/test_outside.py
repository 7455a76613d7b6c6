"""What joins the border of the frame without data stays as it was."""

import numpy as np
import pytest

from napari_dip import Observation, restore
from napari_dip.core.errors import ObservationError
from napari_dip.core.outside import INSIDE


@pytest.fixture
def image():
    """(64, 80) float: noise on a level."""
    return 100 + np.random.default_rng(0).normal(0, 5, (64, 80))


CORNER = np.add.outer(np.arange(64), np.arange(80)) < 40


def kept(image, mask=None):
    """The value that each pixel outside keeps, or `INSIDE`."""
    outside = Observation.from_array(image, axes="YX", mask=mask).outside
    return np.full(image.shape, INSIDE) if outside is None else outside[0, 0, 0]


def is_outside(image, mask=None):
    return kept(image, mask) != INSIDE


@pytest.mark.parametrize(("value", "stays"), [(np.nan, np.nan), (0.0, 0.0), (np.inf, np.nan)])
def test_a_wide_region_at_the_border_is_outside(image, value, stays):
    image[CORNER] = value
    found = kept(image)
    assert np.mean(found[CORNER] != INSIDE) > 0.9
    np.testing.assert_array_equal(np.unique(found[CORNER][found[CORNER] != INSIDE]), [stays])
    assert np.all(found[~CORNER] == INSIDE)


def test_a_frame_that_was_turned_is_cut_out_of_zeros_whatever_its_level(image):
    for level in (0, 1000):
        frame = image - 100 + level
        frame[CORNER] = 0
        assert np.mean(kept(frame)[CORNER] == 0) > 0.9


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_bad_columns_and_holes_are_inside(image, value):
    image[:, 30:36] = value
    image[25:50, 45:75] = value
    assert not is_outside(image).any()


def test_random_pixels_in_a_corner_are_inside():
    data = np.random.default_rng(0).normal(100, 5, (128, 128))
    data[np.random.default_rng(3).random(data.shape) < 0.5] = np.nan  # the first pixels among them
    assert not is_outside(data).any()


def test_painted_pixels_are_inside(image):
    assert not is_outside(image, mask=CORNER).any()


def test_zeros_that_are_data_are_inside(image):
    counts = np.random.default_rng(0).poisson(0.01, (96, 96)).astype(float)
    assert not is_outside(counts).any()
    y, x = np.mgrid[:64, :64]
    star = 40 * np.exp(-((y - 30) ** 2 + (x - 34) ** 2) / 8)
    assert not is_outside(np.random.default_rng(0).poisson(star).astype(float)).any()
    assert not is_outside(np.maximum(star - 0.01, 0)).any()
    assert not is_outside(np.where(star > 1, 100.0, 0)).any()
    clipped = np.maximum(np.random.default_rng(0).normal(-2, 1, (96, 96)), 0)
    assert not is_outside(clipped).any()
    assert not is_outside(image).any()


@pytest.mark.parametrize("preset_scale", [("denoise", 1), ("super-resolution", 4)])
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_what_is_outside_stays_as_it_was_unless_it_is_asked_for(
    image, fast_settings, value, preset_scale
):
    from napari_dip import Recipe

    preset, scale = preset_scale
    image[CORNER] = value
    image[40:43, 50:60] = np.nan  # a hole
    changes = {"solver.max_steps": 3, "refinement.patch_method": "none"}
    recipe = Recipe.preset(preset).with_settings({**fast_settings, **changes})
    outside = is_outside(image).repeat(scale, axis=0).repeat(scale, axis=1)
    result = restore(image, recipe)
    np.testing.assert_array_equal(result.image[outside], value)
    assert np.isfinite(result.image[~outside]).all()
    assert not result.inpainted[outside].any()
    assert result.inpainted[~outside].sum() >= 30 * scale**2 - 90
    filled = restore(image, recipe.with_settings({"extrapolate": True}))
    assert np.isfinite(filled.image).all()
    assert filled.inpainted[outside].mean() > 0.8


def test_the_zeros_outside_are_not_fitted(image):
    image[CORNER] = 0
    observation = Observation.from_array(image, axes="YX")
    assert not observation.observed[0, 0, 0][CORNER].any()
    part = observation.crop(slice(0, 32), slice(0, 40))
    assert part.outside.shape == part.y.shape
    assert observation.select_planes(slice(0, 1), slice(0, 1)).outside.shape == observation.y.shape


def test_frames_that_are_combined_are_outside_where_all_are(image, fast_settings):
    from napari_dip import Recipe

    frames = np.stack([image, image.copy(), image.copy()])
    frames[0][CORNER] = np.nan
    frames[1][:, -20:] = np.nan
    frames[1][CORNER] = frames[2][CORNER] = np.nan
    changes = {"solver.max_steps": 3, "operator.align": False}
    result = restore(
        Observation.from_array(frames, axes="TYX"),
        Recipe.preset("coadd").with_settings({**fast_settings, **changes}),
    )
    assert np.isnan(result.image[:10, :10]).all()
    assert np.isfinite(result.image[:, -20:]).all()
    turning = Recipe.preset("coadd-rotation").with_settings({**fast_settings, "solver.max_steps": 3})
    frames[0, -20:] = np.nan  # which the others show
    result = restore(Observation.from_array(frames, axes="TYX"), turning)
    assert np.isnan(result.image[:10, :10]).all()
    assert np.isfinite(result.image[-20:]).all()


class TestConstantPlanes:
    """A frame that the camera lost does not refuse a movie, and an alpha channel is no light."""

    @pytest.fixture
    def movie(self):
        return 100 + np.random.default_rng(0).normal(0, 5, (4, 40, 44))

    @pytest.mark.parametrize("preset", ["denoise", "time-series"])
    @pytest.mark.parametrize("value", [0.0, 7.0])
    def test_stay_as_they_were(self, movie, fast_settings, preset, value):
        from napari_dip import Recipe

        movie[2] = value
        recipe = Recipe.preset(preset).with_settings(fast_settings)
        image = restore(Observation.from_array(movie, axes="TYX"), recipe).image
        np.testing.assert_array_equal(image[2], value)
        assert np.isfinite(image).all()
        assert np.ptp(image[1]) > 0

    def test_frames_that_are_not_observed_are_nan_or_filled(self, movie, fast_settings):
        from napari_dip import Recipe

        movie[2] = np.nan
        alone = restore(movie, Recipe.preset("denoise").with_settings(fast_settings), axes="TYX")
        assert [bool(np.isnan(frame).any()) for frame in alone.image] == [False, False, True, False]
        jointly = Recipe.preset("time-series").with_settings(fast_settings)
        result = restore(movie, jointly, axes="TYX")
        assert np.isfinite(result.image).all()
        assert result.inpainted[2].all()

    def test_frames_that_the_file_lacks_are_not_observed(self, movie, fast_recipe):
        movie[2] = 0
        missing = np.zeros(movie.shape, bool)
        missing[2] = True
        observation = Observation.from_array(movie, axes="TYX", mask=missing)
        assert np.isnan(restore(observation, fast_recipe).image[2]).all()

    def test_an_opaque_alpha_channel_stays_opaque(self, movie, fast_recipe):
        movie[3] = 255
        colors = movie.transpose(1, 2, 0)
        observation = Observation.from_array(colors, axes="YXC")
        image = restore(observation, fast_recipe).image
        np.testing.assert_array_equal(image[..., 3], 255)
        assert np.isfinite(image).all()

    @pytest.mark.parametrize("axes", ["TYX", "CYX"])
    def test_planes_with_one_value_each_are_refused(self, axes):
        planes = np.stack([np.full((40, 44), value) for value in (255.0, 0.0)])
        with pytest.raises(ObservationError, match=r"in each plane all .* same value \(0 to 255\)"):
            Observation.from_array(planes, axes=axes)

    def test_an_image_with_one_value_is_refused(self):
        with pytest.raises(ObservationError, match="all observed pixels have the same value, 7"):
            Observation.from_array(np.full((3, 40, 44), 7.0), axes="TYX")

    def test_a_part_with_one_value_is_refused(self, movie, fast_recipe):
        movie[0, :32, :32] = 5
        part = Observation.from_array(movie[0], axes="YX").crop(slice(0, 32), slice(0, 32))
        with pytest.raises(ObservationError, match="each plane has one value only"):
            restore(part, fast_recipe)


def test_objects_on_zero_are_no_image_that_was_cut_out():
    y, x = np.mgrid[:64, :64]
    beads = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in ((20, 22), (40, 30), (28, 47)))
    plane = np.where(beads > 0.2, 500 * beads, 0).astype(np.float32)
    observation = Observation.from_array(plane, axes="YX")
    assert observation.outside is None
    assert observation.observed.all()
