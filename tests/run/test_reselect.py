import numpy as np
import pytest

from napari_dip import Observation
from napari_dip.run.reselect import reselect_step
from napari_dip.run.restoration import iter_restoration


@pytest.mark.parametrize("axes", ["YX", "CYX", "YXC"])
def test_the_last_iteration_has_the_run_s_own_residual(quick, noisy, axes):
    array = {"YX": noisy, "CYX": np.stack([noisy] * 3), "YXC": np.stack([noisy] * 3, -1)}[axes]
    observation = Observation.from_array(array, axes=axes)
    recipe = quick.with_settings(
        {"stopping.kind": "fixed", "solver.max_steps": 20, "refinement.patch_method": "none"}
    )
    run, images = iter_restoration(observation, recipe, snapshot_every=10), {}
    while True:
        try:
            iterate = next(run)
        except StopIteration as end:
            result = end.value
            break
        if iterate.image is not None:
            images[iterate.step] = iterate.image
    last = reselect_step(result, observation, images[20], 20)
    np.testing.assert_allclose(last.residual, result.residual, atol=1e-4)
    np.testing.assert_allclose(last.noise_std, result.noise, rtol=1e-4)
    assert last.provenance["noise"]["residual"] == pytest.approx(
        result.provenance["noise"]["residual"], abs=2e-3
    )
    first = reselect_step(result, observation, images[10], 10)
    np.testing.assert_allclose(first.residual, array - images[10], atol=1e-4)
    assert "step 10 was picked by hand" in first.summary
    assert result.provenance["chosen"] == [20]
