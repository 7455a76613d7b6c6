"""Three people's walks through the real window, with runs of a few steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = {"astronomy": 6, "microscopy": 14, "mri": 6}  # clicks; of the first, to a saved file


@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="there is no display"
)
@pytest.mark.parametrize("who", MOST)
def test_the_walk_ends_within_so_many_clicks(who, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "walks.py", "--quick", who],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"(\d+) clicks", done.stdout)
    assert told, done.stdout
    assert int(told[1]) <= MOST[who]
