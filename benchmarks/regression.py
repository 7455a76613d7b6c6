"""The speed of this tree against another commit, as ratios in one run.

Run as ``python benchmarks/regression.py [--base REF] [--repeats 5] [--largest-ratio 1.25]``. The base
is the last release, or the parent commit as long as there is none. Both run by turns in processes of
their own, on one thread; each workload prints the median of the ratios of its pairs, and their spread.
The exit status is 1 if a ratio is larger than that.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
IMAGE = (
    "import numpy as np; from napari_dip import Observation, Recipe, restore;"
    " image = 100 + 20 * np.sin(np.arange({side}) / 5)[:, None] * np.ones({side});"
    " image += np.random.default_rng(0).normal(0, 10, image.shape);"
    " observation = Observation.from_array(image, axes='YX')"
)
STEPS = "restore(observation, Recipe.preset('{preset}').with_settings({settings}))"
UNREFINED = {"solver.max_steps": 40, "refinement.patch_method": "none"}
WORKLOADS = {  # what comes before the clock starts, and what is timed
    "import and presets": ("", "from napari_dip import Recipe; Recipe.preset('denoise')"),
    "40 steps, 128 px": (
        IMAGE.format(side=128),
        STEPS.format(
            preset="denoise", settings={"solver.max_steps": 40, "refinement.patch_method": "none"}
        ),
    ),
    "20 steps and refinement, 128 px": (
        IMAGE.format(side=128),
        STEPS.format(preset="denoise", settings={"solver.max_steps": 20}),
    ),
    "20 steps, x2, 64 px": (
        IMAGE.format(side=64),
        STEPS.format(preset="super-resolution", settings={"solver.max_steps": 20, "ensemble.size": 1}),
    ),
    "patches only, 256 px": (
        IMAGE.format(side=256),
        "restore(observation, Recipe.preset('denoise').with_quality('instant'))",
    ),
}
TIMED = """
import time, warnings
warnings.simplefilter("ignore")
{before}
started = time.perf_counter()
{timed}
print(time.perf_counter() - started)
"""


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", help="a tag or a commit")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest-ratio", type=float, default=1.25)
    args = parser.parse_args()
    base = args.base or last_release()
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        git("worktree", "add", "--detach", folder, base)
        try:
            print(
                f"{git('describe', '--always', '--dirty')} against {git('describe', '--always', base)}"
            )
            print(f"{'workload':34}{'seconds':>9}{'ratio':>8}   spread")
            for name, (before, timed) in WORKLOADS.items():
                script = TIMED.format(before=before, timed=timed)
                pairs = [
                    (seconds(ROOT, script), seconds(Path(folder), script)) for _ in range(args.repeats)
                ]
                ratios = sorted(own / other for own, other in pairs)
                typical = median(ratios)
                largest = max(largest, typical)
                spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
                print(
                    f"{name:34}{median(own for own, _ in pairs):9.2f}{typical:8.2f}   {spread}",
                    flush=True,
                )
        finally:
            git("worktree", "remove", "--force", folder)
    return int(largest > args.largest_ratio)


def last_release() -> str:
    """Return the tag of the last release, or the parent commit."""
    tags = git("tag", "--list", "v*", "--merged", "HEAD", "--sort", "-creatordate").split()
    return tags[0] if tags else "HEAD~1"


def git(*arguments: str) -> str:
    """Return what git prints."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def seconds(tree: Path, script: str) -> float:
    """Run a script with the package of a tree, and return the seconds that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    return float(run.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
