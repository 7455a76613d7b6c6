"""Shifts between images of one scene, where the edges of the frames do not shift."""

import numpy as np
import pytest
from skimage import data
from skimage.io import imread

from napari_dip.physics.registration import edge_map, estimate_shift, register


@pytest.mark.parametrize("scene", ["camera", "cell"])
@pytest.mark.parametrize(("shift", "side"), [((3, -2), 128), ((6, 9), 128), ((-11, 5), 256)])
def test_the_shift_between_crops_of_a_scene_is_measured(scene, shift, side):
    whole = getattr(data, scene)().astype(np.float32)
    dy, dx = shift
    fixed = whole[100 : 100 + side, 100 : 100 + side]
    moving = whole[100 + dy : 100 + dy + side, 100 + dx : 100 + dx + side]
    found = estimate_shift(edge_map(fixed[None]), edge_map(moving[None]))
    np.testing.assert_allclose(found, shift, atol=0.1)


def test_neither_brightness_nor_missing_nor_hot_pixels_change_the_shift():
    whole = data.camera().astype(np.float32)
    fixed, moving = whole[100:228, 100:228].copy(), 500 - 3 * whole[104:232, 98:226]
    for frame in (fixed, moving):
        frame[60, 60] = 1e5
        frame[:20] = np.nan
    np.testing.assert_allclose(
        estimate_shift(edge_map(fixed[None]), edge_map(moving[None])), (4, -2), atol=0.1
    )


@pytest.mark.parametrize(("row", "column"), [(200, 250), (300, 300), (250, 100)])
@pytest.mark.parametrize("side", [128, 160, 192])
def test_a_registered_pair_is_not_said_to_be_shifted(data_folder, row, column, side):
    """Flash and no-flash have few edges in common; the highest correlation may be anywhere."""
    inside = slice(row, row + side), slice(column, column + side)
    flash, plain = (
        edge_map(np.moveaxis(imread(data_folder / "natural" / name)[inside], -1, 0).astype(float))
        for name in ("cave01_00_flash.jpg", "cave01_01_noflash.jpg")
    )
    found = register(plain, flash, tolerance=1.0)
    assert np.abs(found.shift).max() <= 1 or not found.is_sure


def test_unrelated_images_have_no_sure_shift(scene):
    rng = np.random.default_rng(0)
    noise = edge_map(rng.normal(0, 1, (1, *scene.shape)))
    for number in range(5):
        other = edge_map(rng.normal(0, 1, (1, *scene.shape)))
        assert not register(noise, other, tolerance=1.0).is_sure, number
    assert not register(edge_map(scene[None]), noise, tolerance=1.0).is_sure


@pytest.mark.parametrize("shift", [(3, -2), (6, 9)])
def test_a_real_shift_is_sure(shift):
    scene = data.camera()[100:260, 150:310].astype(float)
    dy, dx = shift
    rng = np.random.default_rng(1)
    fixed, moving = scene[20:148, 20:148], 300 - scene[20 + dy : 148 + dy, 20 + dx : 148 + dx]
    noise = 0.02 * np.ptp(scene)
    pair = (edge_map((image + rng.normal(0, noise, image.shape))[None]) for image in (fixed, moving))
    found = register(*pair, tolerance=1.0)
    np.testing.assert_allclose(found.shift, shift, atol=0.2)
    assert found.is_sure
