"""Results of another shape than their source (finer grids, combined exposures), and auxiliary data."""

import numpy as np
import pytest

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.to_observation import observation_from_layer
from napari_dip.plugin.session.run import State


@pytest.fixture
def recipe(fast_recipe):
    return fast_recipe.with_settings({"solver.max_steps": 60, "stopping.kind": "fixed"})


@pytest.fixture
def coadd(recipe):
    return recipe.with_settings({"operator.kind": "multi-exposure"})


ROTATED = {"rotate": 30, "shear": [0.2], "affine": [[1, 0, 9], [0, 2, 0], [0, 0, 1]]}


@pytest.mark.parametrize("spatial", [{}, ROTATED])
def test_a_finer_grid_covers_the_same_area(model, session, recipe, noisy, spatial):
    layer = model.add_image(
        noisy, name="a", scale=(2, 3), translate=(5, 7), units=("um", "um"), **spatial
    )
    changes = {"operator.kind": "downsample", "operator.scale_factor": (2, 4)}
    session.run(recipe.with_settings(changes), layer)
    assert not session.sentences[-1][1], session.sentences
    assert "predicts the data" in session.sentences[-1][0]
    height, width = noisy.shape
    for name in ("a [restored]", "a [steps]"):
        finer = model.layers[name]
        assert finer.data.shape[-2:] == (2 * height, 4 * width)
        np.testing.assert_allclose(finer.scale[-2:], (1, 0.75))
        for corner, inside in (((-0.5, -0.5), (-0.5, -0.5)), ((47.5, 55.5), (95.5, 223.5))):
            place = finer.data_to_world((*([0] * (finer.ndim - 2)), *inside))[-2:]
            np.testing.assert_allclose(place, layer.data_to_world(corner), atol=1e-6)
    residual = model.layers["a [residual]"]
    assert residual.data.shape == noisy.shape
    np.testing.assert_allclose(residual.scale, layer.scale)
    assert residual.metadata["napari-dip"]["header"].pixel_size == {"Y": (2.0, "um"), "X": (3.0, "um")}


def test_exposures_along_time_become_one_image(model, session, coadd, noisy):
    stack = np.stack([noisy, np.roll(noisy, 2, 0), noisy])
    layer = model.add_image(stack, name="a", scale=(9, 2, 2), axis_labels=("t", "y", "x"))
    session.run(coadd, layer)
    assert not session.sentences[-1][1], session.sentences
    restored = model.layers["a [restored]"]
    assert restored.data.shape == noisy.shape
    assert restored.axis_labels == ("y", "x")
    np.testing.assert_allclose(restored.scale, (2, 2))
    assert model.layers["a [residual]"].data.shape == stack.shape


def test_frames_that_turn_become_one_image_and_its_residual_lies_there(model, session, recipe, noisy):
    stack = noisy + np.random.default_rng(0).normal(0, 5, (3, *noisy.shape))
    spatial = {"scale": (9, 2, 3), "translate": (4, 5, 6), "axis_labels": ("t", "y", "x")}
    layer = model.add_image(stack, name="a", **spatial)
    session.run(recipe.with_settings({"operator.kind": "rigid-motion"}), layer)
    assert not session.sentences[-1][1], session.sentences
    for name in ("a [restored]", "a [residual]"):
        one = model.layers[name]
        assert one.data.shape == noisy.shape
        assert one.axis_labels == ("y", "x")
        np.testing.assert_allclose(one.scale, (2, 3))
        np.testing.assert_allclose(one.translate, (5, 6))
    run = session.current_run
    step, image = run.snapshots[0]
    np.testing.assert_array_equal(run.result_at(step).image, image)
    assert not run.has_strength


def test_several_layers_become_one_image_each_with_its_own_mask(model, session, coadd, noisy):
    ours = [{"napari-dip": {"axes": "YX", "origin": str(n)}} for n in range(3)]
    layers = [model.add_image(noisy, name=f"a{n}", metadata=ours[n]) for n in range(3)]
    mask = np.zeros(noisy.shape, np.uint8)
    mask[5:8, 5:8] = 1
    model.add_labels(mask, metadata={"napari-dip": {"axes": "YX", "origin": "1", "role": "mask"}})
    session.run(coadd, layers[0], frames=layers[1:])
    assert not session.sentences[-1][1], session.sentences
    residual = model.layers["a0 [residual]"].data
    assert residual.shape == (3, *noisy.shape)
    assert np.isnan(residual[1, 5:8, 5:8]).all()
    assert np.isfinite(residual[0]).all()
    assert model.layers["a0 [restored]"].data.shape == noisy.shape


def test_a_mask_painted_on_the_first_applies_to_it_only(model, session, coadd, noisy):
    layers = [model.add_image(noisy, name=f"a{n}") for n in range(2)]
    painted = np.zeros(noisy.shape, np.uint8)
    painted[5:8, 5:8] = 1
    mask = model.add_labels(painted)
    session.run(
        coadd,
        layers[0],
        frames=layers[1:],
        mask=mask,
    )
    residual = model.layers["a0 [residual]"].data
    assert np.isnan(residual[0, 5:8, 5:8]).all()
    assert np.isfinite(residual[1]).all()


def test_holes_are_where_napari_shows_the_labels(model):
    """A layer with fewer axes is aligned with the last ones of another."""
    pixels = np.random.default_rng(0).poisson(100, (3, 2, 40, 44))
    layer = model.add_image(pixels, name="a", axis_labels=("t", "c", "y", "x"))
    painted = np.zeros((2, 40, 44), np.uint8)
    painted[1, 20:24] = 1
    mask = model.add_labels(painted)
    observed = observation_from_layer(layer, mask=mask).observed
    expected = np.zeros((3, 2, 40, 44), bool)
    expected[:, 1, 20:24] = True
    np.testing.assert_array_equal(~observed[:, :, 0], expected)
    elsewhere = model.add_labels(np.zeros((3, 40, 44), np.uint8))  # one for each time, not channel
    with pytest.raises(ObservationError, match=r"of shape \(3, 40, 44\) does not match an image"):
        observation_from_layer(layer, mask=elsewhere)


def test_color_exposures_may_share_a_mask_between_channels(model, session, coadd, noisy):
    photo = np.clip(noisy, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    layers = [model.add_image(photo, name=f"a{n}", rgb=True) for n in range(2)]
    mask = model.add_labels((noisy > 140).astype(np.uint8))
    session.run(
        coadd,
        layers[0],
        frames=layers[1:],
        mask=mask,
    )
    assert not session.sentences[-1][1], session.sentences
    assert model.layers["a0 [restored]"].data.shape == photo.shape


def test_a_combined_image_lies_where_rotated_layers_lie(model, session, coadd, noisy):
    layers = [model.add_image(noisy, name=f"a{n}", **ROTATED) for n in range(2)]
    session.run(coadd, layers[0], frames=layers[1:])
    place = model.layers["a0 [restored]"].data_to_world((40, 50))
    np.testing.assert_allclose(place, layers[0].data_to_world((40, 50)))


def test_exposures_with_another_pixel_size_are_refused(model, session, coadd, noisy):
    layers = [model.add_image(noisy, name="a"), model.add_image(noisy, name="b", scale=(3, 3))]
    with pytest.raises(ObservationError, match="not as large as"):
        session.run(coadd, layers[0], frames=layers[1:])


def test_layers_of_another_shape_are_refused(model, session, coadd, noisy):
    layers = [model.add_image(noisy, name="a"), model.add_image(noisy[:40], name="b")]
    with pytest.raises(ObservationError, match="cannot be stacked"):
        session.run(coadd, layers[0], frames=layers[1:])
    assert session.state == State.IDLE


def test_a_guide_is_used_and_a_shifted_one_is_refused_in_one_sentence(
    model, session, recipe, noisy, scene
):
    layer = model.add_image(noisy, name="a")
    guided = recipe.with_settings({"network_input.kind": "guide"})
    session.run(guided, layer, auxiliary={"guide": model.add_image(scene, name="g")})
    assert not session.sentences[-1][1], session.sentences
    shifted = model.add_image(np.roll(scene, (6, -4), (0, 1)), name="h")
    session.run(guided, layer, auxiliary={"guide": shifted})
    sentence, failed = session.sentences[-1]
    assert failed
    assert sentence.startswith("the guide is shifted by -")
    changes = guided.with_settings({"network_input.misregistration": "correct"})
    session.run(changes, layer, auxiliary={"guide": shifted})
    assert not session.sentences[-1][1], session.sentences
    flat = model.add_image(np.ones(noisy.shape), name="f")
    session.run(guided, layer, auxiliary={"guide": flat})
    assert "is constant" in session.sentences[-1][0]
    session.run(guided, layer)
    assert "there is no guide" in session.sentences[-1][0]


@pytest.mark.parametrize("rgb", [False, True])
def test_several_fits_give_an_uncertainty(model, session, fast_recipe, noisy, rgb):
    image = np.stack([noisy / 255] * 3, axis=-1) if rgb else noisy
    layer = model.add_image(image, name="a", rgb=rgb, scale=(2, 3), units=("um", "um"))
    session.run(fast_recipe.with_settings({"ensemble.size": 2}), layer)
    assert not session.sentences[-1][1], session.sentences
    assert "uncertainty" in session.sentences[-1][0]
    uncertainty = model.layers["a [uncertainty]"]
    assert uncertainty.data.shape == noisy.shape
    assert (uncertainty.data > 0).all()
    assert not uncertainty.rgb
    np.testing.assert_allclose(uncertainty.scale, layer.scale)
    assert uncertainty.contrast_limits[0] == 0
    steps = model.layers["a [steps]"].metadata["steps"] if "a [steps]" in model.layers else []
    assert len(steps) == len(set(steps))


def test_a_single_fit_gives_none(model, session, fast_recipe, noisy):
    session.run(fast_recipe, model.add_image(noisy, name="a"))
    assert "a [restored]" in model.layers
    assert "a [uncertainty]" not in model.layers
