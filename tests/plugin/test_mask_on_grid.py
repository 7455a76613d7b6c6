"""Masks that are drawn as shapes, or lie on other pixels than the image, mark what the viewer shows."""

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_dip.plugin.layers.mask_on_grid import mask_on_grid
from napari_dip.plugin.layers.to_observation import observation_from_layer


@pytest.fixture
def image():
    return Image(np.random.default_rng(0).normal(100, 5, (40, 60)), scale=(0.5, 0.5), translate=(3, 7))


def test_labels_on_the_pixels_of_the_image_are_taken_as_they_are(image):
    labels = Labels(np.zeros((40, 60), int), scale=image.scale, translate=image.translate)
    assert mask_on_grid(labels, image) is labels


def test_labels_of_a_crop_mark_its_pixels_in_the_whole_image(image):
    pixels = np.zeros((10, 12), int)
    pixels[2:4, 5:9] = 3
    start = np.array(image.data_to_world((20, 30)))
    found = mask_on_grid(Labels(pixels, scale=image.scale, translate=start), image)
    expected = np.zeros((40, 60), bool)
    expected[22:24, 35:39] = True
    np.testing.assert_array_equal(found.data != 0, expected)


def test_labels_of_a_binned_image_mark_each_of_its_pixels(image):
    pixels = np.zeros((20, 30), int)
    pixels[4, 6:8] = 1
    binned = Labels(pixels, scale=(1, 1), translate=(3.25, 7.25))  # the same outer edges
    found = mask_on_grid(binned, image).data != 0
    expected = np.zeros((40, 60), bool)
    expected[8:10, 12:16] = True
    np.testing.assert_array_equal(found, expected)


def test_shapes_mark_the_pixels_inside(image):
    corners = [image.data_to_world(place) for place in ((5, 10), (5, 19), (14, 19), (14, 10))]
    found = mask_on_grid(Shapes([np.array(corners)], shape_type="polygon"), image).data != 0
    assert found[6:14, 11:19].all()
    assert 64 < found.sum() <= 110
    assert not found[:4].any()
    assert not found[:, 22:].any()


def test_no_shapes_mark_nothing(image):
    assert not mask_on_grid(Shapes(ndim=2), image).data.any()


def test_a_drawn_mask_counts_in_every_plane_of_a_stack():
    stack = Image(np.random.default_rng(0).normal(100, 5, (3, 40, 60)), axis_labels=("t", "y", "x"))
    shapes = Shapes([np.array([(5, 5), (5, 12), (12, 12), (12, 5)])], shape_type="polygon")
    observation = observation_from_layer(stack, mask=mask_on_grid(shapes, stack))
    missing = ~observation.observed[:, 0, 0]
    assert missing.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(missing[0], missing[2])
