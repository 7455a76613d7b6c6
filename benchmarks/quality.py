"""How good the automatic stop and the defaults are, on images of known truth; prints the tables.

Run as ``python benchmarks/quality.py [denoise] [inpaint] [--seeds 3] [--threads 2]``. Truth is used
to score only: it chooses no iteration and no setting. The settings were chosen on other images
(astronaut, snail, camera, simulated star fields).
"""

import argparse
import os
import platform
import statistics
from pathlib import Path

import numpy as np
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import inpaint_biharmonic

from napari_dip import Observation, Recipe, __version__, restore

DATA = Path(os.environ.get("NAPARI_DIP_DATA", Path(__file__).parents[2] / "shared" / "data"))


def natural(name: str) -> np.ndarray:
    """An image of the folder as float, 0 to 255."""
    return imread(DATA / "natural" / name).astype(float)


def centre(image: np.ndarray, side: int = 256) -> np.ndarray:
    """The middle of an image."""
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, nothing clipped."""
    return peak_signal_noise_ratio(truth, image, data_range=255)


def curve(recipe: Recipe, observation: Observation, truth: np.ndarray):
    """The result, and the best PSNR of the running average on its way, looked at every 10 steps."""
    best = (0.0, 0)
    run = restore(recipe, observation, snapshot_every=10)
    while True:
        try:
            iterate = next(run)
        except StopIteration as end:
            return end.value, best
        if iterate.image is not None:
            best = max(best, (psnr(truth, iterate.image), iterate.step))


def row(*cells) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def denoise(seeds: int) -> None:
    """F16 under Gaussian noise of sigma 25, not clipped."""
    whole = natural("F16_GT.png")
    images = {
        "F16, 256 px crop": centre(whole),
        "F16, 2 x 2 means": whole.reshape(256, 2, 256, 2, 3).mean((1, 3)),
    }
    row("image", "seed", "noisy", "stopped", "at step", "of", "own best", "at step", "gap", "s")
    row(*["---"] * 10)
    for name, truth in images.items():
        stopped, gaps = [], []
        for seed in range(seeds):
            noisy = truth + np.random.default_rng(seed).normal(0, 25, truth.shape)
            observation = Observation.from_array(noisy, axes="YXC")
            recipe = Recipe.preset("denoise").override({"seed": seed})
            result, (best, step) = curve(recipe, observation, truth)
            reached = psnr(truth, result.image)
            stopped.append(reached)
            gaps.append(best - reached)
            row(
                name, seed, f"{psnr(truth, noisy):.2f}", f"{reached:.2f}", result.history[0].chosen,
                result.steps, f"{best:.2f}", step, f"{best - reached:.2f}",
                round(result.provenance["seconds"]),
            )  # fmt: skip
        print(
            f"\n{name}: {statistics.mean(stopped):.2f} dB, sd over seeds "
            f"{statistics.stdev(stopped) if seeds > 1 else 0:.2f}, largest gap {max(gaps):.2f} dB\n"
        )


def inpaint(seeds: int) -> None:
    """Barbara with half of its pixels missing, kate with text written over it."""
    barbara = centre(natural("barbara.png"))
    kate = centre(natural("kate.png"))
    text = centre(natural("kate_mask.png")) < 128
    row("image", "seed", "missing", "biharmonic", "stopped", "at step", "of", "own best", "gap", "s")
    row(*["---"] * 10)
    for seed in range(seeds):
        half = np.random.default_rng(seed).random(barbara.shape) < 0.5
        cases = {
            "barbara, 50 %": (barbara, half, "YX"),
            "kate, text": (kate, text, "YXC"),
        }
        for name, (truth, holes, axes) in cases.items():
            given = np.where(holes if truth.ndim == 2 else holes[..., None], 0, truth)
            channel_axis = -1 if truth.ndim == 3 else None
            classical = inpaint_biharmonic(given / 255, holes, channel_axis=channel_axis) * 255
            observation = Observation.from_array(given, axes=axes, holes=holes)
            recipe = Recipe.preset("inpaint").override({"seed": seed})
            result, (best, _) = curve(recipe, observation, truth)
            reached = psnr(truth, result.image)
            row(
                name, seed, f"{holes.mean():.0%}", f"{psnr(truth, classical):.2f}", f"{reached:.2f}",
                result.history[0].chosen, result.steps, f"{best:.2f}", f"{best - reached:.2f}",
                round(result.provenance["seconds"]),
            )  # fmt: skip
    print()


def main() -> None:
    """Run what was asked for."""
    import torch

    jobs = {"denoise": denoise, "inpaint": inpaint}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", help=f"of {', '.join(jobs)}; all where none is named")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(
        f"napari-dip {__version__}, torch {torch.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}; {platform.machine()}, {asked.threads} threads, "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}; PSNR in dB\n"
    )
    for job in asked.jobs or jobs:
        jobs[job](asked.seeds)


if __name__ == "__main__":
    main()
