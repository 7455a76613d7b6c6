"""Shifts between images of one scene, where the edges of the frames do not shift."""

import numpy as np
import pytest
from skimage import data

from napari_dip.physics.registration import edge_map, estimate_shift


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
