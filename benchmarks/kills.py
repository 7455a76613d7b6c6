"""Batches that are killed at random moments: whether anything is lost, doubled or half-written.

Run as ``python benchmarks/kills.py [--kills 50] [--drivers 2] [--frames 6] [--seed 0]``. Drivers that
share a folder are killed together by SIGKILL after a random time, and started again. After each kill
every file in the folder must be complete: an image that can be read, with its provenance (hidden files
are unfinished ones, which the next driver removes). After the last one the batch runs to its end: each
image must equal, bit for bit, that of a batch that nobody interrupted, the summary must have one row for
each, and nothing else may be left. A frame has three fits, so that most kills leave a checkpoint; how
many images were made from one is printed.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import conditions
from napari_dip import Recipe
from napari_dip.datasets import star_field
from napari_dip.io import read_first_image, read_provenance
from napari_dip.run.batch import SUMMARY

QUICK = {
    "network.channels": 8, "network.depth": 3, "ensemble.size": 3, "solver.max_steps": 60,
    "solver.warm_start": "never",
}  # fmt: skip


def main() -> None:
    """Print what was found after each kill, and at the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--drivers", type=int, default=2)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(conditions(1))
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(args.frames):
            frame = folder / "night" / f"frame{seed}.fits"
            frame.parent.mkdir(exist_ok=True)
            star_field(seed=seed, side=64, stars=10).writeto(frame)
        recipe = folder / "quick.json"
        recipe.write_text(Recipe.preset("denoise").with_settings(QUICK).to_json())
        started = time.perf_counter()
        start(recipe, folder / "whole").wait()
        duration = time.perf_counter() - started
        print(f"uninterrupted: {duration:.1f} s for {args.frames} frames")
        resumed: set[str] = set()
        for number in range(args.kills):
            drivers = [start(recipe, folder / "killed") for _ in range(args.drivers)]
            moment = rng.uniform(0, args.drivers * duration)
            time.sleep(moment)
            running = [driver for driver in drivers if driver.poll() is None]
            for driver in drivers:
                driver.kill()
                driver.wait()
            made = complete(folder / "killed")
            restored = len(made)
            resumed |= {file.name for file in made if "interrupted" in read_provenance(file)["notes"]}
            said = f"{len(running)} were running, {restored} images"
            print(f"kill {number + 1} after {moment:4.1f} s: {said}", flush=True)
            if restored == args.frames:  # begin again, with some of them
                for file in rng.sample(made, args.frames - 1):
                    file.unlink()
        last = start(recipe, folder / "killed")
        last.wait()
        compare(folder / "whole", folder / "killed")
    print(f"{args.kills} kills, {len(resumed)} of {args.frames} frames made from a checkpoint")
    print("nothing is lost, doubled or half-written")


def start(recipe: Path, folder: Path) -> subprocess.Popen:
    """Start a batch in a process of its own."""
    words = ["batch", str(recipe), str(recipe.parent / "night"), "--output-dir", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "napari_dip", *words], **quiet)


def complete(folder: Path) -> list[Path]:
    """Return the images of a folder; each can be read, and knows how it was made."""
    files = [file for file in sorted(folder.glob("*.fits")) if not file.name.startswith(".")]
    for file in files:
        assert np.isfinite(read_first_image(file).array).all(), file
        assert read_provenance(file)["steps"] == QUICK["ensemble.size"] * QUICK["solver.max_steps"], file
    return files


def compare(whole: Path, killed: Path) -> None:
    """Raise an error if a folder has not what an uninterrupted batch has."""
    names = {file.name for file in whole.iterdir()}
    assert {file.name for file in killed.iterdir()} == names, sorted(killed.iterdir())
    for file in complete(whole):
        first, second = (read_first_image(folder / file.name).array for folder in (whole, killed))
        assert np.array_equal(first, second), file.name
    with (killed / SUMMARY).open() as file:
        rows = [Path(row["output"]).name for row in csv.DictReader(file)]
    assert sorted(rows) == sorted(names - {SUMMARY}), rows


if __name__ == "__main__":
    main()
