"""What speaks against maps: another equation, or a protocol in other units."""

import numpy as np
import pytest

import napari_dip as dip
from napari_dip.core.errors import RestorationWarning, SettingsError

TIMES = np.array([0.012, 0.03, 0.06, 0.09])


def echoes(noise=1.0, background=0.0):
    clean = 100 * np.exp(-TIMES[:, None, None] / np.linspace(0.05, 0.1, 48)) * np.ones((1, 40, 1))
    clean[0] += background
    return (clean + np.random.default_rng(0).normal(0, noise, clean.shape)).astype(np.float32)


def fit(images, kind="t2", **protocol):
    return dip.fit_maps(images, kind, method="pixelwise", sigma=1, **protocol)


def test_good_maps_have_no_findings():
    assert np.isfinite(fit(echoes(), echo_times=TIMES).maps["T2"]).all()


def test_an_equation_that_does_not_explain_the_images_is_to_be_checked():
    with pytest.warns(RestorationWarning, match="does not explain the images"):
        fit(echoes(background=60), echo_times=TIMES)


def test_milliseconds_are_refused_or_noticed():
    with pytest.raises(SettingsError, match="less than or equal to 10"):
        fit(echoes(), echo_times=1000 * TIMES)
    with pytest.warns(RestorationWarning, match=r"check the (units of the )?protocol"):
        fit(echoes(), echo_times=TIMES / 1000)


def test_the_findings_are_in_the_assessment_of_a_result():
    recipe = dip.Recipe.preset("t2-map").with_settings(
        {"signal.echo_times": tuple(TIMES / 1000), "solver.max_steps": 40, "noise.sigma": 1}
    )
    result = dip.restore(echoes(), recipe, axes="TYX")
    assert result.assessment.level in ("check", "failed")
    assert "protocol" in str(result.assessment)
