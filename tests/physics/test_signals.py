"""Signal equations, and their fit to each pixel."""

import numpy as np
import pytest

from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import union_members
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import AnySignal
from napari_dip.physics.signals.adc import Diffusion
from napari_dip.physics.signals.decay import Decay
from napari_dip.physics.signals.pixelwise import fit_pixels, project_residuals
from napari_dip.physics.signals.t1_flip_angle import FlipAngles
from napari_dip.physics.signals.t1_inversion import InversionRecovery
from napari_dip.physics.signals.t2 import EchoDecay

T2 = EchoDecay(echo_times=tuple(0.012 * n for n in range(1, 9)))
T1 = FlipAngles(flip_angles=(2, 4, 11, 13, 15), repetition_time=0.0068)
CASES = {
    "t2": (T2, (0.02, 0.5)),
    "t1-flip-angle": (T1, (0.3, 4.0)),
    "t1-inversion": (InversionRecovery(inversion_times=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)), (0.3, 4)),
    "adc": (Diffusion(b_values=(0, 200, 400, 800)), (1e-4, 3e-3)),
    "decay": (Decay(times=tuple(range(12))), (1.5, 9)),
}


def test_there_is_a_case_for_each_equation():
    kinds = {member.model_fields["kind"].default for member in union_members(AnySignal)}
    assert kinds == {*CASES, "none"}


@pytest.mark.parametrize("kind", CASES)
def test_data_without_noise_are_explained_exactly(kind):
    signal, (low, high) = CASES[kind]
    rng = np.random.default_rng(0)
    value = torch.tensor(np.exp(rng.uniform(np.log(low), np.log(high), 300)))
    linear = torch.tensor(rng.uniform(1, 10, (len(signal.linear), 300)))
    y = (signal.basis(value) * linear).sum(dim=1)
    assert y.shape == (signal.num_contrasts, 300)
    found = fit_pixels(signal, y)
    np.testing.assert_allclose(found.value, value, rtol=1e-5)
    np.testing.assert_allclose(found.linear, linear, rtol=1e-4)
    assert float(found.misfit.max()) < 1e-10


# Relative bounds of one pixel, noise 0.02, in white and gray matter and in fluid.
WITH_ECHOES = {(0.70, 0.070): 0.057, (0.82, 0.085): 0.051, (1.00, 0.500): 0.14}
WITH_ANGLES = {(7.0, 0.85): 0.096, (8.2, 1.33): 0.097, (10.0, 4.0): 0.17}


@pytest.mark.parametrize(("signal", "known"), [(T2, WITH_ECHOES), (T1, WITH_ANGLES)])
def test_the_bound_is_that_of_the_equation(signal, known):
    for (amplitude, value), expected in known.items():
        value = torch.tensor([value], dtype=torch.float64)
        found = fit_pixels(signal, amplitude * signal.basis(value)[:, 0], sigma=0.02)
        assert float(found.value_std / value) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("kind", CASES)
def test_the_error_is_as_large_as_the_bound_says(kind):
    signal, (low, high) = CASES[kind]
    value = torch.full((4000,), (low * high) ** 0.5, dtype=torch.float64)
    linear = torch.tensor([[10.0], [2.0]][: len(signal.linear)], dtype=torch.float64).expand(-1, 4000)
    clean = (signal.basis(value) * linear).sum(dim=1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = fit_pixels(signal, clean + 0.02 * noise)
    assert float((found.value - value).std() / found.value_std.median()) == pytest.approx(1, abs=0.05)
    error = (found.linear - linear).std(dim=1) / found.linear_std.median(dim=1).values
    np.testing.assert_allclose(error, 1, atol=0.06)
    assert float(found.misfit.mean()) == pytest.approx(0.02**2, rel=0.05)


@pytest.mark.parametrize("kind", CASES)
def test_residuals_contradict_the_quantity_that_is_off_by_as_many_bounds(kind):
    signal, (low, high) = CASES[kind]
    value = torch.linspace(low, high, 40, dtype=torch.float64)
    linear = torch.full((len(signal.linear), 40), 7.0, dtype=torch.float64)
    clean = signal.signal(value, linear)
    bounds = fit_pixels(signal, clean, sigma=1e-4)
    off = 0.5 * bounds.value_std
    found, found_linear = project_residuals(
        signal, value, linear, (signal.signal(value + off, linear) - clean) / 1e-4
    )
    np.testing.assert_allclose(found, 0.5, rtol=1e-2)
    np.testing.assert_allclose(found_linear, 0, atol=1e-2)
    for number in range(len(linear)):
        changed = linear.clone()
        changed[number] += 0.5 * bounds.linear_std[number]
        residual = (signal.signal(value, changed) - clean) / 1e-4
        found, found_linear = project_residuals(signal, value, linear, residual)
        np.testing.assert_allclose(found, 0, atol=1e-6)
        np.testing.assert_allclose(found_linear[number], 0.5, rtol=1e-6)


def test_residuals_of_noise_contradict_nothing_by_more_than_a_bound_and_unknown_ones_stay_unknown():
    value = torch.full((4000,), 0.1, dtype=torch.float64)
    noise = torch.tensor(np.random.default_rng(0).normal(size=(8, 4000)))
    noise[2, 1] = torch.nan
    amplitude = torch.ones((1, 4000), dtype=torch.float64)
    amplitude[0, 2] = 0  # which says nothing of T2
    for found in project_residuals(T2, value, amplitude, noise):
        found = found.reshape(-1)
        assert float(found[3:].std()) == pytest.approx(1, abs=0.05)
        assert found[1].isnan()
    assert float(project_residuals(T2, value, amplitude, noise)[0][2]) == 0


def test_nothing_is_known_where_there_is_no_signal():
    found = fit_pixels(T2, torch.zeros((8, 3)), sigma=0.02)
    assert torch.isinf(found.value_std).all()
    assert torch.isfinite(found.value).all()


def test_a_protocol_that_is_too_short_is_refused():
    with pytest.raises(SettingsError, match=r"signal\.echo_times needs .* at least 3, and has 2"):
        assert EchoDecay(echo_times=(0.01, 0.02)).num_contrasts
