"""What every test may use: the folder of real images, and small images of known truth."""

import os
import sys
import time
import tracemalloc
from pathlib import Path

# Small images on few cores: more threads than one only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_dip import Header, Observation, Recipe
from napari_dip.core.errors import ReadError
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.io import read_images
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior, PriorSettings

# The same examples in each run; --hypothesis-profile=many tries others, and keeps failing ones.
hypothesis.settings.register_profile("repeatable", max_examples=150, deadline=None, derandomize=True)
hypothesis.settings.register_profile("many", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real images; tests that need it are skipped where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NAPARI_DIP_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set NAPARI_DIP_DATA to their folder")
    return folder


@pytest.fixture
def fast_settings() -> dict[str, object]:
    """Settings of a fit that takes a second and restores nothing well."""
    return {"network.channels": 8, "network.depth": 3, "solver.max_steps": 20, "compute.device": "cpu"}


@pytest.fixture
def fast_recipe(fast_settings) -> Recipe:
    """A recipe that takes a second and restores nothing well."""
    return Recipe.preset("denoise").with_settings(fast_settings)


@pytest.fixture(scope="session")
def make_observation():
    """Make an observation of an array, whose axes are YX if not given.

    Besides the arguments of `Observation.from_array` it takes the unit, cards of a FITS header as text,
    and auxiliary data by name.
    """

    def make(array, axes="YX", *, unit="", fits_header="", auxiliary=None, **options):
        options.setdefault("header", Header(unit=unit, fits_header=fits_header))
        observation = Observation.from_array(array, axes=axes, **options)
        for name, data in (auxiliary or {}).items():
            observation = observation.with_auxiliary(name, data)
        return observation

    return make


@pytest.fixture(scope="session")
def make_data(make_observation):
    """Make the data of one fit from all planes of an array; arguments as for `make_observation`."""

    def make(array, axes="YX", *, keep_times=False, **options):
        observation = make_observation(array, axes, **options)
        return FitData.from_observation(observation, keep_times=keep_times)

    return make


@pytest.fixture(scope="session")
def make_problem():
    """Make the problem of an observation, or of the data of one fit, on the CPU.

    Its physics are those of `recipe` with `settings` changed.
    """

    def make(data, settings=None, *, recipe=None, **options):
        recipe = (recipe or Recipe()).with_settings(settings or {})
        if isinstance(data, Observation):
            keep_times = recipe.operator.combines_time
            data = FitData.from_observation(data, keep_times=keep_times)
        physics = (recipe.operator, recipe.noise, recipe.regularization)
        return Problem.from_data(data, *physics, device=torch.device("cpu"), **options)

    return make


@pytest.fixture(scope="session")
def make_prior(make_problem):
    """Make the prior of a recipe for an observation, on the CPU."""

    def make(observation, recipe, *, problem=None, seed=0, precision=torch.float32):
        data = FitData.from_observation(observation)
        parts = recipe.network, recipe.network_input, recipe.output, recipe.self_supervision
        return Prior.build(
            problem or make_problem(data, recipe=recipe),
            data,
            PriorSettings(*parts, recipe.signal),
            precision=precision,
            generator=torch.Generator().manual_seed(seed),
        )

    return make


@pytest.fixture
def tensors_in():
    """Collect all tensors among the attributes of an object, however deep they lie."""

    def tensors_in(value):
        if isinstance(value, torch.Tensor):
            return [value]
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return [tensor for item in value for tensor in tensors_in(item)]
        return tensors_in(vars(value)) if hasattr(value, "__dict__") else []

    return tensors_in


@pytest.fixture
def scene() -> np.ndarray:
    """(48, 56) float: smooth, with edges, around 100."""
    y, x = np.mgrid[:48, :56]
    return 100 + 20 * np.sin(x / 7) + 30.0 * (np.hypot(y - 20, x - 25) < 12)


@pytest.fixture
def noisy(scene) -> np.ndarray:
    """The scene under noise of standard deviation 8."""
    return scene + np.random.default_rng(3).normal(0, 8, scene.shape)


@pytest.fixture
def observation(noisy) -> Observation:
    """The noisy scene with a hole."""
    holes = np.zeros(noisy.shape, bool)
    holes[10:14, 20:26] = True
    return Observation.from_array(noisy, axes="YX", mask=holes)


@pytest.fixture(scope="session")
def wait_until():
    """Wait for a condition, however busy the machine is."""

    def wait_until(condition, *, deadline_s=480):
        end = time.monotonic() + deadline_s
        while not (value := condition()):
            assert time.monotonic() < end, "the condition was not met in time"
            time.sleep(0.05)
        return value

    return wait_until


@pytest.fixture
def unequal() -> np.ndarray:
    """(128, 128) float: smooth noise that is stronger at some places than at others."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(0, 10, (128, 128)), 0.6)
    return smooth * np.kron(rng.lognormal(size=(16, 16)), np.ones((8, 8)))


@pytest.fixture
def refused():
    """Checks that reading a file ends in one sentence that says this, soon and in little memory."""

    def refused(path, said):
        started = time.process_time()  # of this process alone: the machine may be busy
        tracemalloc.start()
        with pytest.raises(ReadError) as error:
            read_images(path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert said in str(error.value)
        assert path.name in str(error.value)
        assert "\n" not in str(error.value)
        assert time.process_time() - started < 60  # five, and much less without tracing
        assert most < 300e6

    return refused


@pytest.fixture
def call(monkeypatch, capsys):
    """The command line in this process: (exit status, what it printed, its errors)."""
    from napari_dip.cli.app import main

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["napari-dip", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return call
