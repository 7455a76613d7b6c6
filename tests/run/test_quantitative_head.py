"""The simulated head, and how well its maps are found without a prior."""

import numpy as np
import pytest

from napari_dip import fit_maps
from napari_dip.core.errors import SettingsError
from napari_dip.datasets import TISSUES, quantitative_head
from napari_dip.physics.signals.adc import Diffusion
from napari_dip.physics.signals.decay import Decay
from napari_dip.physics.signals.t1_flip_angle import FlipAngles
from napari_dip.physics.signals.t2 import EchoDecay

CASES = {
    "T2": (EchoDecay(echo_times=tuple(0.012 * n for n in range(1, 9))), 1),
    "T1": (FlipAngles(flip_angles=(2, 4, 11, 13, 15), repetition_time=0.0068), 10),
    "ADC": (Diffusion(b_values=(0, 200, 400, 800)), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_maps_of_pixels_alone_are_as_good_as_the_bound(name):
    equation, amplitude = CASES[name]
    head = quantitative_head(equation, amplitude=amplitude)
    found = fit_maps(head.images, equation, method="pixelwise")
    assert found.sigma == pytest.approx(0.02, rel=0.06)  # from the images, which are half air
    for tissue in ("white matter", "gray matter"):
        inside = head.tissue == TISSUES.index(tissue)
        assert inside.sum() > 500
        error = (found.maps[name] - head.value)[inside]
        assert np.sqrt(np.mean((error / found.std[name][inside]) ** 2)) == pytest.approx(1, abs=0.1)
        assert abs(np.median(error / head.value[inside])) < 0.01


def test_without_noise_the_pure_pixels_are_exact():
    equation, _ = CASES["T2"]
    head = quantitative_head(equation, noise=0)
    np.testing.assert_array_equal(head.images, head.truth)
    found = fit_maps(head.images, equation, method="pixelwise")
    inside = head.tissue > 0
    np.testing.assert_allclose(found.maps["T2"][inside], head.value[inside], rtol=0.01)
    assert set(np.unique(head.tissue)) == set(range(len(TISSUES)))


def test_a_seed_repeats_the_head():
    equation, _ = CASES["T2"]
    first, again, other = (quantitative_head(equation, seed, side=48).images for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_a_head_has_not_is_refused():
    with pytest.raises(SettingsError, match="the head has no tau"):
        quantitative_head(Decay(times=(0, 1, 2, 3)))
