"""Sessions on a viewer without a window, run at once instead of in a thread."""

import numpy as np
import pytest

from napari_dip import Recipe
from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers import result_specs
from napari_dip.plugin.layers.metadata import axes_of
from napari_dip.plugin.session.run import State


@pytest.fixture
def recipe(fast_recipe):
    return fast_recipe.with_settings({"solver.max_steps": 100, "stopping.kind": "fixed"})


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize("axes", ["YX", "YXC", "ZYX", "TCYX"])
def test_results_sit_where_their_source_sits(model, session, recipe, noisy, axes):
    sizes = {"T": 2, "C": 3, "Z": 2}
    array = noisy[..., None].repeat(3, 2) if axes == "YXC" else noisy
    array = np.clip(array, 0, 255).astype(np.uint8 if axes == "YXC" else np.float32)
    for letter in reversed(axes[:-2] if axes.endswith("YX") else ""):
        array = np.stack([array] * sizes[letter])
    ndim = array.ndim - (axes == "YXC")
    spatial = {
        "scale": np.arange(2, 2 + ndim),
        "units": ("s", "pixel", "um", "um")[-ndim:],
        "axis_labels": [a.lower() for a in axes.replace("C", "", axes == "YXC")][:ndim],
        "translate": np.arange(ndim),
    }
    if axes == "TCYX":
        spatial["axis_labels"] = list("tcyx")
    before = array.copy()
    layer = model.add_image(array, name="cell", rgb=axes == "YXC", metadata={"a": 1}, **spatial)
    session.run(recipe, layer)
    assert session.state == State.IDLE
    assert not session.sentences[-1][1], session.sentences
    np.testing.assert_array_equal(layer.data, before)
    restored, residual = model.layers["cell [restored]"], model.layers["cell [residual]"]
    assert restored.data.shape == array.shape
    for added in (restored, residual):
        np.testing.assert_array_equal(added.scale, layer.scale)
        np.testing.assert_array_equal(added.translate, layer.translate)
        assert added.units == layer.units
        assert added.axis_labels == layer.axis_labels
        assert added.metadata["a"] == 1
    result = restored.metadata["napari-dip"]["result"]
    assert result.image.shape == array.shape
    assert np.isfinite(result.image).all()


def test_snapshots_are_a_stack_over_steps(model, session, recipe, noisy):
    layer = model.add_image(noisy, name="a", scale=(2, 3), units=("um", "um"))
    session.run(recipe.with_settings({"refinement.patch_method": "none"}), layer)
    stack = model.layers["a [steps]"]
    assert stack.data.shape == (2, *noisy.shape)
    assert stack.axis_labels[0] == "step"
    np.testing.assert_array_equal(stack.scale, (50, 2, 3))
    np.testing.assert_array_equal(stack.translate, (50, 0, 0))
    np.testing.assert_array_equal(stack.data[-1], model.layers["a [restored]"].data)
    assert not np.array_equal(stack.data[0], stack.data[1])


def test_results_lie_where_a_rotated_layer_lies(model, session, recipe, noisy):
    layer = model.add_image(
        noisy, name="a", rotate=30, shear=[0.2], affine=[[1, 0, 9], [0, 2, 0], [0, 0, 1]]
    )
    session.run(recipe, layer)
    corner = np.array(layer.data_to_world((40, 50)))
    for name, inside in (
        ("restored", (40, 50)),
        ("residual", (40, 50)),
        ("steps", (0, 40, 50)),
    ):
        np.testing.assert_allclose(model.layers[f"a [{name}]"].data_to_world(inside)[-2:], corner)


def test_a_mask_in_another_place_is_refused(model, session, recipe, noisy):
    layer = model.add_image(noisy, name="a", scale=(2, 2))
    mask = model.add_labels(np.zeros(noisy.shape, int))
    with pytest.raises(ObservationError, match="elsewhere"):
        session.run(recipe, layer, mask=mask)


def test_a_restored_photograph_may_be_restored_again_in_the_same_units(model, session, recipe, noisy):
    photo = np.clip(noisy, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    session.run(recipe, model.add_image(photo, name="a", rgb=True))
    first = model.layers["a [restored]"]
    session.run(recipe, first)
    again = model.layers["a [restored] [restored]"].metadata["napari-dip"]["result"]
    assert abs(np.median(again.image) - np.median(photo)) < 20


def test_an_error_while_layers_are_added_frees_the_dock(model, session, recipe, noisy, monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(result_specs, "unreproduced_spec", fail)
    session.run(recipe, model.add_image(noisy, name="a"))
    assert session.state == State.IDLE
    assert session.sentences[-1][1]
    assert "a [restored]" in names(model)


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((2, 3, 4, 40, 40), None, "TZCYX"),
        ((2, 3, 40, 40), ("z", "c", "y", "x"), "ZCYX"),
        ((40, 40, 3), ("y", "x", "c"), "YXC"),
        ((5, 40, 40), None, "TYX"),
    ],
)
def test_axes_are_read_from_labels_or_guessed(model, shape, labels, axes):
    layer = model.add_image(np.zeros(shape), rgb=False, axis_labels=labels)
    assert axes_of(layer) == axes


def test_missing_pixels_are_inpainted_and_marked(model, session, recipe, noisy):
    layer = model.add_image(noisy, name="a")
    labels = np.zeros(noisy.shape, int)
    labels[5:8, 5:8] = 3
    mask = model.add_labels(labels)
    session.run(recipe.with_settings({"hard_data_consistency": True}), layer, mask=mask)
    restored = model.layers["a [restored]"].data
    same = restored == noisy.astype(np.float32)
    assert same[labels == 0].all()
    np.testing.assert_array_equal(model.layers["a [filled]"].data != 0, labels != 0)


def test_a_preview_is_shown_on_request_and_keeps_its_contrast(model, session, script, recipe, noisy):
    previews = []

    def after(iterate):
        session.ask_for_preview()
        if "a [restoring]" in model.layers:
            previews.append((iterate.image is not None, model.layers["a [restoring]"].contrast_limits))

    script.after = after
    layer = model.add_image(noisy, name="a", contrast_limits=(80, 140))
    session.run(recipe, layer)
    assert len(previews) >= 2
    assert {tuple(limits) for _, limits in previews} == {(80, 140)}


def test_discard_leaves_nothing_behind(model, session, script, recipe, noisy):
    script.after = lambda iterate: (session.ask_for_preview(), iterate.step > 50 and session.cancel())
    layer = model.add_image(noisy, name="a")
    session.run(recipe, layer)
    assert names(model) == ["a"]
    assert session.state == State.IDLE
    assert session.sentences == [("Discarded; nothing was kept.", False)]


def test_a_deleted_preview_stays_deleted_and_the_result_is_still_added(
    model, session, script, recipe, noisy
):
    def after(iterate):
        session.ask_for_preview()
        if "a [restoring]" in model.layers:
            model.layers.remove("a [restoring]")

    script.after = after
    session.run(recipe, model.add_image(noisy, name="a"))
    assert "a [restored]" in names(model)
    assert "a [restoring]" not in names(model)


def test_the_selection_of_layers_does_not_change(model, session, recipe, noisy):
    layer = model.add_image(noisy, name="a")
    model.layers.selection = {layer}
    session.run(recipe, layer)
    assert set(model.layers.selection) == {layer}


def test_different_layers_are_restored_one_after_another(model, session, recipe, noisy):
    for name in "ab":
        session.run(recipe, model.add_image(noisy, name=name))
    session.run(recipe, model.layers["a"], keep_previous=True)
    assert sum("restored" in name for name in names(model)) == 3


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("odd"), KeyError("x")],
)
def test_an_error_during_a_run_is_one_sentence_and_the_next_run_works(
    model, session, recipe, noisy, monkeypatch, failure
):
    layer = model.add_image(noisy, name="a")
    with monkeypatch.context() as patch:
        from napari_dip.physics.problem import Problem

        original, calls = Problem.loss, []

        def fail(self, x):
            calls.append(1)
            if len(calls) == 30:
                raise failure
            return original(self, x)

        patch.setattr(Problem, "loss", fail)
        session.run(recipe, layer)
    ((sentence, error),) = session.sentences
    assert error
    assert "\n" not in sentence
    assert ("memory is full" in sentence or "memory of device" in sentence) == ("CUDA" in str(failure))
    assert names(model) == ["a"]
    session.run(recipe, layer)
    assert "a [restored]" in names(model)


def test_a_constant_image_is_refused_before_it_starts(model, session, noisy):
    layer = model.add_image(np.zeros((40, 40)))
    with pytest.raises(ObservationError, match="same value"):
        session.run(Recipe.preset("denoise"), layer)
    assert session.state == State.IDLE


def test_pyramids_are_read_at_full_resolution(model, session, recipe, noisy):
    layer = model.add_image([noisy, noisy[::2, ::2]], multiscale=True, name="a")
    session.run(recipe, layer)
    assert model.layers["a [restored]"].data.shape == noisy.shape


def test_unreproduced_sources_are_ringed(model, session, recipe, noisy, monkeypatch):
    from napari_dip.refine.ensemble import EnsembleStatistics

    monkeypatch.setattr(EnsembleStatistics, "unreproduced_sources", lambda self: [(3, 4), (10, 20)])
    model.add_image(noisy, name="a", scale=(2, 2))
    session.run(recipe, model.layers["a"])
    rings = model.layers["a [unsure sources]"]
    np.testing.assert_array_equal(rings.data, [[3, 4], [10, 20]])
    np.testing.assert_array_equal(rings.scale, (2, 2))


def test_a_fit_to_crops_shows_its_result_and_no_iterations(model, session, noisy):
    recipe = Recipe.preset("denoise").with_settings(
        {"solver.method": "amortized", "solver.max_steps": 120, "compute.device": "cpu"}
    )
    pixels = np.tile(noisy, (3, 3))[:140, :150]
    layer = model.add_image(pixels, name="a")
    session.run(recipe, layer)
    assert not session.sentences[-1][1], session.sentences
    assert "one network for the whole image" in session.sentences[-1][0]
    names = [layer.name for layer in model.layers]
    assert "a [restored]" in names
    assert "a [steps]" not in names
    assert "raise solver.max_steps" in session.continue_blocked_by()
    assert np.std(model.layers["a [restored]"].data - pixels) > 4


def test_an_image_of_patches_is_shown_before_the_first_step(model, session, script, recipe, noisy):
    layer, shown = model.add_image(noisy, name="a"), []

    def watch(progress):
        if progress.step == 0 and progress.image is not None:
            shown.append(model.layers[-1].data.copy())
            assert "patches" in progress.note

    script.after = watch
    session.run(recipe, layer)
    (first,) = shown
    assert np.std(first - layer.data) > 0
    assert not np.array_equal(first, model.layers["a [restored]"].data)
    assert session.current_run.steps[0] > 0  # it is no image of the fit
    session.continue_run()
    assert len(shown) == 1


def test_no_image_of_patches_where_they_cannot_restore_it(model, session, script, recipe, noisy):
    layer, notes = model.add_image(noisy, name="a"), []
    script.after = lambda progress: notes.append(progress.note)
    missing = np.arange(noisy.size).reshape(noisy.shape) % 4 > 0
    mask = model.add_labels(missing.astype(np.uint8))
    session.run(recipe, layer, mask=mask)
    assert session.current_run.result is not None
    assert not any(notes)
