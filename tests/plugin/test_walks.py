"""The walks of `scripts/walks.py` through the real window, with runs of a few steps."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_CLICKS = {"astronomy": 5, "microscopy": 10, "mri": 5}  # until a file is saved, if one is


@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="there is no display"
)
@pytest.mark.skipif(version("napari") < "0.6", reason="the script clicks in napari 0.6 and newer ones")
@pytest.mark.parametrize("walk", MAX_CLICKS)
def test_a_walk_takes_few_clicks(walk, tmp_path):
    folders = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "walks.py", "--quick", walk],
        capture_output=True,
        text=True,
        env={**os.environ, **folders, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    match = re.search(r"(\d+) clicks", done.stdout)
    assert match, done.stdout
    assert int(match[1]) <= MAX_CLICKS[walk]
