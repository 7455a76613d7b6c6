"""A forward operator dropped into its folder is everywhere, without another edit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

ROOT = Path(__file__).parents[2]

PAGE = ROOT / "docs" / "how-to" / "add-an-operator.md"
MIRROR = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]  # the page's example

DOCK = """
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari_dip.plugin.docks.task_docks import DenoiseDock
dock = DenoiseDock(ViewerModel())
choice = dock.form.entry("operator.kind")
assert "mirror" in choice.choices, choice.choices
choice.value = "mirror"
assert "returns" in dock.form.entry("operator.tint").tooltip
assert dock.form.basic_layout.isRowVisible(dock.inputs.auxiliary["glass"])
assert dock.form.recipe().operator.tint == 0.5
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the repository with one file more."""
    folder = tmp_path_factory.mktemp("house")
    for name in ("src", "tests", "scripts", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    (folder / "src" / "napari_dip" / "physics" / "operators" / "mirror.py").write_text(MIRROR)
    return folder


def run(house, *arguments):
    paths = {"PYTHONPATH": str(house / "src"), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=house,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_the_command_line(house, tmp_path):
    source, target = tmp_path / "in.fits", tmp_path / "out.fits"
    y = np.random.default_rng(0).normal(100, 5, (40, 48))
    fits.PrimaryHDU(y.astype(np.float32)).writeto(source)
    changes = ["--set", "operator.kind=mirror", "--set", "solver.max_steps=3"]
    run(house, "-m", "napari_dip", "run", "denoise", source, target, *changes)
    assert '"kind": "mirror"' in fits.getheader(target)["DIPRECIP"]


def test_in_the_docs(house):
    page = run(house, "scripts/settings_page.py", "--print")
    assert "### operator.kind = mirror" in page
    assert "Part of the light that the mirror returns." in page


def test_in_the_contract_tests(house):
    said = run(house, "-m", "pytest", "-q", "tests/physics/test_operators.py", "-k", "mirror")
    assert " passed" in said
    assert "failed" not in said


def test_in_the_dock(house):
    run(house, "-c", DOCK)


def test_the_page_of_settings_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "settings_page.py", "--print"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    assert done.stdout.rstrip() == page.rstrip()
