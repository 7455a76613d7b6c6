"""The recipes for clusters of docs/how-to/batch.md, with a stand-in for SLURM."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from napari_dip.datasets import star_field
from napari_dip.run.batch import SUMMARY

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "batch.md"
SBATCH = """#!/bin/bash
script=$(mktemp)
cp "${!#}" "$script"
array=$(sed -n 's/^#SBATCH --array=//p' "$script")
array="${array:-1-1}"
for task in $(seq ${array/-/ }); do
    SLURM_ARRAY_TASK_ID=$task setsid bash "$script" >> "sbatch-$task.log" 2>&1 &
done
echo "Submitted batch job $!"
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for SLURM is a bash script"),
]


@pytest.fixture
def slurm(tmp_path):
    """The environment of a folder with the commands of SLURM, whose jobs are local processes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", '#!/bin/bash\nkill -- "-$1"\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "napari-dip").write_text(f'#!/bin/bash\nexec {sys.executable} -m napari_dip "$@"\n')
    (folder / "napari-dip").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def night(tmp_path, fast_recipe):
    """A folder with frames, beside a quick recipe."""
    (tmp_path / "night").mkdir()
    for seed in range(3):
        star_field(seed=seed, side=48, stars=5).writeto(tmp_path / "night" / f"frame{seed}.fits")
    (tmp_path / "quick.json").write_text(fast_recipe.to_json())
    return tmp_path


def code(language, word):
    """The example of the page that contains a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    (found,) = [block for block in blocks if word in block]
    return found


def replaced(text, changes):
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def rows_of(folder):
    with (folder / "restored" / SUMMARY).open() as file:
        return [(Path(row["file"]).name, row["state"]) for row in csv.DictReader(file)]


def test_an_array_of_jobs_restores_each_file_once(night, slurm, wait_until):
    changes = {"--array=1-8": "--array=1-3", "batch denoise": "batch quick.json"}
    (night / "array.sh").write_text(replaced(code("text", "#SBATCH --array"), changes))
    subprocess.run(["sbatch", "array.sh"], cwd=night, env=slurm, check=True, timeout=60)
    logs = [night / f"sbatch-{task}.log" for task in (1, 2, 3)]
    wait_until(lambda: all(log.exists() and "summary: " in log.read_text() for log in logs))
    said = "".join(log.read_text() for log in logs)
    assert len(re.findall(r"frame\d\.fits: restored", said)) == 3
    assert len(re.findall(r"frame\d\.fits: skipped", said)) == 6
    assert sorted(file for file, _ in rows_of(night)) == ["frame0.fits", "frame1.fits", "frame2.fits"]
    assert not list((night / "restored").glob(".*"))


def test_workers_of_a_cluster_stay_until_its_script_ends(night, slurm, wait_until):
    pytest.importorskip("dask_jobqueue")
    changes = {"jobs=8": "jobs=1", "cores=4": "cores=1", '"16GB"': '"2GB"'}
    text = replaced(code("python", "SLURMCluster"), changes)
    (night / "cluster.py").write_text(text)
    words = [sys.executable, "cluster.py"]
    script = subprocess.Popen(words, cwd=night, env=slurm, stdout=subprocess.PIPE, text=True)
    try:
        address = script.stdout.readline().strip()
        assert address.startswith("tcp://")
        words = ["batch", "quick.json", "night/", "--output-dir", "restored", "--scheduler", address]
        run = ["napari-dip", *words]
        done = subprocess.run(run, cwd=night, env=slurm, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert rows_of(night) == [(f"frame{n}.fits", "restored") for n in range(3)]
    finally:
        script.send_signal(signal.SIGINT)
        script.wait(60)
    wait_until(lambda: not _mentions(address), deadline_s=60)


def _mentions(address):
    """Whether a process on this machine has an address in its command line."""
    found = subprocess.run(["pgrep", "-f", address], capture_output=True, text=True, check=False)
    return bool(found.stdout)
