"""How good the automatic stop of *Denoise* is, on images of known truth; prints the table.

Run as ``python benchmarks/quality.py [--seeds 3] [--threads 2]``. Truth is used
to score only: it chooses no iteration and no setting. The settings were chosen on other images
(astronaut, snail, camera, simulated star fields).
"""

import argparse
import statistics

import numpy as np

from common import centre, conditions, curve, halved, header, natural, psnr, row
from napari_dip import Observation, Recipe


def denoise(seeds: int) -> None:
    """F16 under Gaussian noise of sigma 25, not clipped."""
    whole = natural("F16_GT.png")
    images = {
        "F16, 256 px crop": centre(whole),
        "F16, 2 x 2 means": halved(whole),
    }
    header("image", "seed", "noisy", "stopped", "at step", "of", "own best", "at step", "gap", "s")
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


def main() -> None:
    """Run what was asked for."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{conditions(asked.threads)}; PSNR in dB\n")
    denoise(asked.seeds)


if __name__ == "__main__":
    main()
