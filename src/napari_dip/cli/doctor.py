"""The command that examines an installation."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import psutil
from rich.table import Table

from napari_dip.cli.app import app, fail, out
from napari_dip.core.device import free_bytes
from napari_dip.core.errors import RestorationError
from napari_dip.core.torch_import import torch

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "astropy", "tifffile", "zarr", "dask", "napari")
BINDINGS = ("PySide6", "PyQt6", "PyQt5", "PySide2")
TEST_SIDE_PX, TEST_SIGMA = 64, 20.0
TEST_SECONDS = 5.0  # after which a test is stopped, and judged
MAX_ERROR_SHARE = 0.9  # of the noise that may be left by then


@app.command()
def doctor() -> None:
    """Examine the installation: versions, devices with a test of each, and what is known not to work.

    Add what it prints to the report of a fault.
    """
    table = Table("", "", box=None, show_header=False)
    table.add_row("napari-dip", version("napari-dip"))
    table.add_row("Python", f"{platform.python_version()}, {platform.platform()}")
    for name in (*PACKAGES, *BINDINGS):
        if found := _version(name):
            table.add_row(name, found)
    memory = psutil.virtual_memory()
    table.add_row("memory", f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB are free")
    table.add_row("CPU", f"{psutil.cpu_count(logical=False)} cores, {torch.get_num_threads()} threads")
    out.print(table)
    failures = []
    for kind in _devices():
        sentence, works = _test(kind)
        out.print(f"{kind}: {sentence}", markup=False)
        failures += [] if works else [kind]
    for conflict in known_conflicts():
        out.print(f"note: {conflict}", markup=False)
    if failures:
        fail(f"the test of {' and '.join(failures)} failed: choose another compute.device")


def known_conflicts() -> Iterator[str]:
    """Yield what is installed and known not to work, each with what to do."""
    if _version("napari") and not any(map(_version, BINDINGS)):
        yield "napari has no Qt binding, and its window will not open: pip install 'napari-dip[all]'"
    if _version("PySide6") == "6.12.0" and sys.version_info[:2] == (3, 11):
        yield (
            "PySide6 6.12.0 aborts after some time under Python 3.11: pip install 'PySide6<6.12', or use"
            " another Python"
        )
    if len(installed := [name for name in BINDINGS if _version(name)]) > 1:
        yield f"{' and '.join(installed)} are installed: QT_API says which one napari uses"


def _version(name: str) -> str:
    for package in (name, f"{name}-Essentials"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""


def _devices() -> list[str]:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, is_there in there.items() if is_there), "cpu"]


def _test(kind: str) -> tuple[str, bool]:
    """What a short fit on a device does, and whether it is right."""
    from napari_dip.core.observation import Observation
    from napari_dip.run.recipe import Recipe
    from napari_dip.run.restoration import iter_restoration

    recipe = Recipe.preset("denoise").with_quality("fast").with_settings({"compute.device": kind})
    device = recipe.compute.resolve_device()
    precision = str(recipe.compute.resolve_precision(device)).removeprefix("torch.")
    rows, columns = np.mgrid[:TEST_SIDE_PX, :TEST_SIDE_PX]
    truth = 100 + 60 * (np.hypot(rows - 30, columns - 34) < 16).astype(np.float32)
    noisy = truth + np.random.default_rng(0).normal(0, TEST_SIGMA, truth.shape)
    start, steps = time.monotonic(), 0
    about = f"{free_bytes(device) / 1e9:.1f} GB free, {precision}"
    try:
        with iter_restoration(Observation.from_array(noisy, axes="YX"), recipe) as run:
            for progress in run:
                steps = max(steps, progress.step)
                if time.monotonic() - start > TEST_SECONDS:
                    run.stop()
            image = np.squeeze(run.result.image)
    except (RestorationError, RuntimeError) as error:
        return f"{about}; the test failed: {error}", False
    left = float(np.std(image - truth)) / TEST_SIGMA
    works = bool(np.isfinite(left) and left < MAX_ERROR_SHARE)
    found = f"{steps} steps in {time.monotonic() - start:.0f} s left {left:.0%} of the noise"
    return f"{about}; {found}: {'good' if works else 'wrong'}", works
