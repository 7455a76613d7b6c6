"""What GPUs need: steps that do not wait, single precision, the same result again."""

import traceback

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from torch.utils._python_dispatch import TorchDispatchMode

from napari_dip import Recipe, restore
from napari_dip.core.torch_import import torch
from napari_dip.fitting.amortized import AmortizedFit
from napari_dip.fitting.solver import Fit
from napari_dip.physics import linalg
from napari_dip.physics.noise._censored import _log_cdf
from napari_dip.physics.operators.sense_motion import SenseMotion
from napari_dip.run import amortized

SIGMA = 10.0
Y, X = np.mgrid[:64, :64]
SCENE = 100 + 60.0 * (np.hypot(Y - 30, X - 30) < 12) + 10 * np.sin(X / 5)
RNG = np.random.default_rng(0)
DATA = SCENE + RNG.normal(0, SIGMA, SCENE.shape)
CORRELATED = SCENE + gaussian_filter(RNG.normal(0, 3 * SIGMA, SCENE.shape), 0.7)
MISSING = RNG.random(SCENE.shape) < 0.3
SHOTS = SenseMotion().make_example(0)
LAST_STEP = 103
FIRST_STEP = 101  # when the moving average is used
SHORT = {"solver.max_steps": LAST_STEP, "refinement.patch_method": "none", "compute.device": "cpu"}
WAITING = {
    "aten._local_scalar_dense.default", "aten.bincount.default", "aten.equal.default",
    "aten.is_nonzero.default", "aten.lift_fresh.default", "aten.masked_select.default",
    "aten.nonzero.default", "aten._unique2.default",
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Lists what would make a GPU wait for the CPU, and what is in double precision."""

    def __init__(self):
        super().__init__()
        self.faults, self._drawn = set(), set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        name = str(operation)
        if name.startswith("aten.randint"):  # by generators of the CPU
            self._drawn.add(result.data_ptr())
        if name in WAITING and not self._is_on_cpu(name, args):
            self._note(name)
        indexes = name.startswith(("aten.index.", "aten.index_put", "aten._index_put"))
        if indexes and any(place is not None and place.dtype == torch.bool for place in args[1]):
            self._note(f"{name} by a mask")
        if isinstance(result, torch.Tensor) and result.dtype in (torch.float64, torch.complex128):
            self._note(f"{name} in double precision")
        return result

    def _is_on_cpu(self, name, args):
        """Whether it is about a random number, a step counter of an optimizer, or a CPU's early stop."""
        if name == "aten._local_scalar_dense.default" and args[0].data_ptr() in self._drawn:
            return True
        return any(
            "torch/optim" in frame.filename.replace("\\", "/") or frame.name == "conjugate_gradient"
            for frame in traceback.extract_stack()
        )

    def _note(self, fault):
        places = [
            f"{f.filename}:{f.lineno}" for f in traceback.extract_stack() if "napari_dip" in f.filename
        ]
        self.faults.add((fault, *places[-1:]))


@pytest.fixture
def watch(monkeypatch):
    """Watches some steps of all fits."""
    watch = Watch()
    for kind in (Fit, AmortizedFit):
        take_step = kind._take_step

        def watched(fit, *number, take_step=take_step):
            fit.watched_step = getattr(fit, "watched_step", 0) + 1
            if fit.watched_step < FIRST_STEP:
                return take_step(fit, *number)
            with watch:
                return take_step(fit, *number)

        monkeypatch.setattr(kind, "_take_step", watched)
    monkeypatch.setattr(amortized, "is_noisy", lambda _: False)
    return watch


def test_the_watch_sees_faults():
    with Watch() as watch:
        values = torch.arange(3.0)
        float(values.sum())
        values[values > 1].double()
        torch.tensor([1.0])
    assert len(watch.faults) == 4


@pytest.mark.parametrize(
    ("preset", "changes", "data", "axes", "options"),
    [
        ("denoise", {}, DATA, "YX", {}),
        ("denoise", {}, DATA, "YX", {"mask": MISSING}),
        ("denoise", {"noise.kind": "poisson", "noise.gain": 1.0}, RNG.poisson(SCENE), "YX", {}),
        ("denoise", {}, CORRELATED, "YX", {}),
        ("denoise", {"solver.method": "amortized"}, np.tile(DATA, (3, 3)), "YX", {}),
        ("denoise", {"solver.method": "amortized"}, np.tile(DATA, (3, 3)), "YX",
         {"mask": np.tile(MISSING, (3, 3))}),
        ("denoise-robust", {}, DATA, "YX", {}),
        ("denoise-saturated", {}, np.minimum(DATA, 160), "YX", {}),
        ("inpaint-random", {}, SCENE, "YX", {"mask": MISSING}),
        ("super-resolution", {"ensemble.size": 1}, DATA[:32, :32], "YX", {}),
        ("deconvolve", {"operator.fwhm": 3, "ensemble.size": 1}, DATA, "YX", {}),
        ("time-series", {}, np.stack([DATA] * 4), "TYX", {}),
        ("time-series", {"network.kind": "time-dependent"}, np.stack([DATA] * 4), "TYX", {}),
        ("time-series", {"network.kind": "deforming"}, np.stack([DATA] * 4), "TYX", {}),
        ("volume", {}, np.stack([DATA[:32, :32]] * 8), "ZYX", {}),
        ("coadd", {"ensemble.size": 1}, np.stack([DATA, np.roll(DATA, 1, 0)]), "TYX", {}),
        ("mri-motion", {}, SHOTS.y[:, :, 0], "TCYX",
         {"auxiliary": {"coil_maps": SHOTS.auxiliary["coil_maps"][0, :, 0]}}),
    ],
)  # fmt: skip
def test_no_step_waits_for_the_device(make_observation, watch, preset, changes, data, axes, options):
    recipe = Recipe.preset(preset).with_settings({**SHORT, **changes})
    found = restore(make_observation(data, axes, **options), recipe)
    assert max(len(history.loss) for history in found.history) == LAST_STEP
    assert watch.faults == set()


def test_conjugate_gradients_without_an_early_stop(monkeypatch):
    monkeypatch.setattr(linalg, "_can_stop_early", lambda _: False)
    factor = torch.randn((5, 5), generator=torch.Generator().manual_seed(0))
    matrix, solution = factor @ factor.T + torch.eye(5), torch.arange(1.0, 6.0)
    for scale in (1.0, 1e-20, 0.0):
        b = matrix @ (scale * solution)
        found = linalg.conjugate_gradient(lambda u: matrix @ u, b, 60)
        torch.testing.assert_close(found, scale * solution, rtol=1e-3, atol=0)


def test_the_normal_distribution_function_is_as_precise_as_torchs():
    x = torch.linspace(-30, 8, 2001)
    expected = torch.special.log_ndtr(x.double())
    torch.testing.assert_close(_log_cdf(x).double(), expected, rtol=2e-6, atol=3e-7)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(_log_cdf(x).sum(), x)
    x = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(torch.special.log_ndtr(x).sum(), x)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["denoise", "amortized", "deconvolve", "time-series", "volume"])
def case(request, make_observation):
    """A recipe and an observation."""
    settings = {"solver.max_steps": 15, "compute.device": "auto", "ensemble.size": 1}
    match request.param:
        case "amortized":
            settings["solver.method"], data, axes = "amortized", np.tile(DATA, (3, 3)), "YX"
        case "deconvolve":
            settings["operator.fwhm"], data, axes = 3, DATA, "YX"
        case "time-series":
            data, axes = np.stack([DATA] * 4), "TYX"
        case "volume":
            data, axes = np.stack([DATA[:32, :32]] * 8), "ZYX"
        case _:
            data, axes = DATA, "YX"
    preset = "denoise" if request.param == "amortized" else request.param
    return Recipe.preset(preset).with_settings(settings), make_observation(data, axes)


@pytest.mark.gpu
def test_a_device_repeats_its_result(case, monkeypatch):
    monkeypatch.setattr(amortized, "is_noisy", lambda _: False)
    recipe, observation = case
    first, again = (restore(observation, recipe).image for _ in range(2))
    if recipe.compute.resolve_device().type == "cpu":
        np.testing.assert_array_equal(first, again)
    else:  # sums in arbitrary order
        assert np.sqrt(np.mean((first - again) ** 2)) < 0.2 * SIGMA


@pytest.mark.gpu
def test_a_device_is_as_good_as_the_cpu(case, monkeypatch):
    monkeypatch.setattr(amortized, "is_noisy", lambda _: False)
    recipe, observation = case
    on_device = restore(observation, recipe).image
    on_cpu = restore(observation, recipe.with_settings({"compute.device": "cpu"})).image
    assert np.isfinite(on_device).all()
    assert np.sqrt(np.mean((on_device - on_cpu) ** 2)) < 0.5 * SIGMA
