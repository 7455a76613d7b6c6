"""The examples of the docstrings run, and every public function has one."""

import doctest
import inspect
import pkgutil
from importlib import import_module

import numpy as np
import pytest
from astropy.io import fits

import napari_dip

MODULES = [
    "napari_dip",
    "napari_dip.core.axes",
    "napari_dip.core.observation",
    "napari_dip.io.files",
    "napari_dip.run.recipe",
    *(
        f"napari_dip.run.api.{module.name}"
        for module in pkgutil.iter_modules(import_module("napari_dip.run.api").__path__)
    ),
]
FUNCTIONS = sorted(name for name in dir(napari_dip) if inspect.isfunction(getattr(napari_dip, name)))


def examples_of(module):
    """The docstrings of a module that have examples; those that need a file are not skipped."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for test in finder.find(import_module(module), extraglobs={"np": np}):
        if test.examples:
            for example in test.examples:
                example.options.pop(doctest.SKIP, None)
            yield test


EXAMPLES = [test for module in MODULES for test in examples_of(module)]


@pytest.mark.slow
@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name.removeprefix("napari_dip."))
def test_an_example_runs(test, tmp_path, monkeypatch):
    """In a folder with the file that some of them read."""
    rng = np.random.default_rng(0)
    science = fits.ImageHDU(rng.normal(100, 5, (40, 48)).astype(np.float32), name="SCI")
    quality = np.zeros((40, 48), np.int16)
    quality[3, 4:8] = 4
    planes = [fits.PrimaryHDU(), science, fits.ImageHDU(quality, name="DQ")]
    fits.HDUList(planes).writeto(tmp_path / "image.fits")
    monkeypatch.chdir(tmp_path)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example(name):
    function = getattr(napari_dip, name)
    own = f"{function.__module__}.{function.__qualname__}"
    assert own in {test.name for test in EXAMPLES}


def test_the_public_functions_are_found():
    assert {"denoise", "read", "write", "restore", "estimate_noise", "list_presets"} <= set(FUNCTIONS)
