"""The original image left of a divider that can be dragged."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_dip.plugin.layers.split_view import SplitView


@pytest.fixture
def layers(model):
    original = model.add_image(np.zeros((40, 60)), name="a", scale=(2, 2))
    restored = model.add_image(np.ones((80, 120)), name="a [restored]", translate=(-0.5, -0.5))
    return original, restored


def test_the_original_covers_the_left_half_and_the_layers_stay_as_they_are(model, layers):
    original, restored = layers
    model.layers.selection.active = original
    callbacks = list(model.mouse_drag_callbacks)
    split = SplitView(model)
    split.show(original.unique_id, restored)
    cover = model.layers[-1]
    assert cover.data.shape == (40, 30)
    assert np.shares_memory(cover.data, original.data)
    assert model.layers.selection.active is original
    assert (original.data.shape, restored.data.shape) == ((40, 60), (80, 120))
    split.hide()
    assert list(model.layers) == [original, restored]
    assert model.mouse_drag_callbacks == callbacks


def drag(model, split, columns):
    """Press the mouse at the first column, in the world, and drag it to the others."""
    event = SimpleNamespace(type="mouse_press", position=(20.0, float(columns[0])))
    steps = split._drag(model, event)
    next(steps, None)
    for column in columns[1:]:
        event.type, event.position = "mouse_move", (20.0, float(column))
        next(steps, None)
    event.type = "mouse_release"
    next(steps, None)


def test_the_divider_is_dragged_and_the_camera_stays(model, layers):
    original, restored = layers
    camera = getattr(model, "scene", model).camera
    split = SplitView(model)
    split.show(original.unique_id, restored)
    camera.zoom = 4
    drag(model, split, [59.0, 70.0, 79.0])
    assert model.layers[-1].data.shape == (40, 40)
    assert camera.mouse_pan
    drag(model, split, [20.0, 30.0])  # far from the divider: the image is moved instead
    assert model.layers[-1].data.shape == (40, 40)
