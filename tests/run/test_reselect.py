import numpy as np
import pytest

from napari_dip import Observation
from napari_dip.run.reselect import reselect_step
from napari_dip.run.restoration import iter_restoration


@pytest.mark.parametrize("axes", ["YX", "CYX", "YXC"])
def test_the_last_step_has_the_residual_of_the_run(fast_recipe, noisy, make_observation, axes):
    array = {"YX": noisy, "CYX": np.stack([noisy] * 3), "YXC": np.stack([noisy] * 3, -1)}[axes]
    observation = make_observation(array, axes)
    recipe = fast_recipe.with_settings(
        {"stopping.kind": "fixed", "solver.max_steps": 20, "refinement.patch_method": "none"}
    )
    run = iter_restoration(observation, recipe, snapshot_every=10)
    images = {progress.step: progress.image for progress in run if progress.image is not None}
    result = run.result
    last = reselect_step(result, images[20], 20)
    np.testing.assert_allclose(last.residual, result.residual, atol=1e-4)
    np.testing.assert_allclose(last.noise_std, result.noise_std, rtol=1e-4)
    expected = result.provenance.noise.residual
    assert last.provenance.noise.residual == pytest.approx(expected, abs=2e-3)
    first = reselect_step(result, images[10], 10)
    np.testing.assert_allclose(first.residual, array - images[10], atol=1e-4)
    assert "step 10 was selected by hand" in first.summary
    assert first.provenance.selected_step == (10,)
    assert result.provenance.selected_step == (20,)


def test_what_was_found_in_the_observation_stays(fast_recipe, noisy):
    objects = 1000.0 * (np.hypot(*np.mgrid[-24:24, -28:28]) < 8)
    observation = Observation.from_array(noisy + objects, axes="YX", mask=objects > 0)
    recipe = fast_recipe.with_settings({"stopping.kind": "fixed", "solver.max_steps": 10})
    run = iter_restoration(observation, recipe, snapshot_every=5)
    images = {progress.step: progress.image for progress in run if progress.image is not None}
    selected = reselect_step(run.result, images[5], 5)
    for result in (run.result, selected):
        assert "the mask covers" in str(result.assessment)
