import numpy as np
import pytest

from napari_dip.core.errors import ObservationError
from napari_dip.physics.masks import cosmic_ray_mask, dilate_mask, saturation_mask
from napari_dip.physics.noise._outliers import detect_cosmic_rays

rng = np.random.default_rng(0)


@pytest.fixture
def sky():
    """Stars of a width of two pixels on a noisy background."""
    rows, columns = np.mgrid[:96, :96]
    scene = np.full((96, 96), 100.0)
    for y, x in rng.uniform(8, 88, (8, 2)):
        scene += 400 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.0**2))
    return scene + rng.normal(0, 5, scene.shape)


def test_saturation_is_the_header_s(sky, make_observation):
    cards = "SATURATE=                  300"
    found = saturation_mask(make_observation(sky, fits_header=cards))
    np.testing.assert_array_equal(found[0, 0, 0], sky.astype(np.float32) >= 300)


def test_saturation_is_the_greatest_value_where_many_pixels_have_it(sky, make_observation):
    clipped = np.minimum(sky, 250)
    np.testing.assert_array_equal(saturation_mask(make_observation(clipped))[0, 0, 0], clipped == 250)
    with pytest.raises(ObservationError, match="Above a value"):
        saturation_mask(make_observation(sky))


def test_cosmic_rays_are_found_and_stars_are_not(sky, make_observation):
    stars = sky > 200
    hit = sky.copy()
    hit[40, 20:30] += 900
    hit[70, 60] += 700
    found = cosmic_ray_mask(make_observation(np.stack([sky, hit]), "TYX"))[:, 0, 0]
    assert found[1, 40, 20:30].all()
    assert found[1, 70, 60]
    assert found[0].sum() <= 2
    assert (found[1] & stars).sum() <= 10


def test_a_mask_is_dilated_by_a_disk_in_each_plane():
    mask = np.zeros((3, 21, 21), bool)
    mask[1, 10, 10] = True
    wider = dilate_mask(mask, 3)
    assert not wider[[0, 2]].any()
    rows, columns = np.nonzero(wider[1])
    assert np.hypot(rows - 10, columns - 10).max() == 3
    assert wider[1].sum() == 29  # a disk, not a square
    np.testing.assert_array_equal(dilate_mask(wider, 1) & wider, wider)


def test_cosmic_rays_are_found_between_missing_pixels():
    rays, missing = (
        np.random.default_rng(n).random((6, 1, 96, 96)) < f for n, f in ((1, 0.003), (2, 0.1))
    )
    y = np.random.default_rng(3).normal(100, 5, rays.shape).astype(np.float32) + 900 * rays
    noise = np.where(missing, np.inf, 5).astype(np.float32)
    found = detect_cosmic_rays(np.where(missing, np.nan, y).astype(np.float32), noise)
    assert found[rays & ~missing].mean() > 0.38  # with single pixels missing, more than half are lost
    assert found[~rays].mean() < 3e-4
