"""Large frames: crops beside the whole frame, on the same pixels; and what each megapixel costs.

Run as ``python benchmarks/large.py [--images sky-9 ...] [--side 1024] [--crops 0 640 ...] [--steps N]
[--preset denoise] [--sigma 25] [--threads 1]``. Prints a row for each way: 0 stands for the whole frame,
other numbers for crops of at most so many pixels. Steps and seconds are per megapixel of the frame; the
peak of memory is that of the process so far, above what it had before the first row: ask for one row.
The seam is how much more the errors of neighbouring pixels differ where two crops meet than elsewhere,
r.m.s., in units of the noise. With ``--steps`` every fit ends there: for seconds and memory alone.
"""

import argparse
import resource
import time

import numpy as np

import quality
from common import conditions, header, psnr, row, taken
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch
from napari_dip.run.tiles.planner import plan_tiles


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=["sky-9"])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--crops", type=int, nargs="+", default=[0, 640])
    parser.add_argument("--preset", default="denoise")
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--steps", type=int, help="the most for each fit: for memory and seconds alone")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(conditions(asked.threads), flush=True)
    header(
        "image",
        "pixels",
        "way",
        "PSNR",
        "steps / Mpx",
        "s / Mpx",
        "memory [GB]",
        "seam [noise]",
        "taken",
    )
    for name in asked.images:
        truth = quality.truth_of(name, asked.side)
        data = truth + np.random.default_rng(0).normal(0, asked.sigma, truth.shape)
        observation = Observation.from_array(data, axes="YXC" if truth.ndim == 3 else "YX")
        for side in asked.crops:
            restored(asked, name, truth, observation, side)


def restored(asked, name: str, truth: np.ndarray, observation: Observation, side: int) -> None:
    """One row of the table."""
    changes = {"compute.tile_size": side or 8192, "compute.memory_limit_gb": 1000.0}
    if asked.steps:
        changes["solver.max_steps"] = asked.steps
    recipe = Recipe.preset(asked.preset).with_settings(changes)
    device = recipe.compute.resolve_device()
    ((_, frame),) = observation.iter_planes()
    crops, _ = plan_tiles(recipe, frame, device)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    result = restore(observation, recipe)
    seconds = time.perf_counter() - begun
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e9
    megapixels = observation.y.size / observation.y.shape[1] / 1e6
    fits = zip(crops, result.history, strict=False)  # flat crops have none
    pixels = sum(len(c.weights[0]) * len(c.weights[1]) * len(h.loss) for c, h in fits)
    row(
        name,
        "x".join(map(str, truth.shape)),
        f"{len(crops)} crops of {len(crops[0].weights[1])}" if len(crops) > 1 else "whole",
        f"{psnr(truth, result.image):.2f}",
        f"{pixels / 1e6 / megapixels:.0f}",
        f"{seconds / megapixels:.0f}",
        f"{memory:.2f}",
        "-" if len(crops) == 1 else f"{seam(result.image - truth, crops) / asked.sigma:.3f}",
        taken(result),
    )


def seam(error: np.ndarray, crops) -> float:
    """How much more neighbours differ in the middle of each blend than elsewhere, r.m.s."""
    across, down = np.zeros(error.shape[1], bool), np.zeros(error.shape[0], bool)
    for crop in crops:
        for lines, along, weights in zip(
            (down, across), (crop.rows, crop.columns), crop.weights, strict=True
        ):
            half = along.start + np.flatnonzero(np.diff(weights > 0.5))
            lines[half] = True
    at, inside = [], []
    for lines, steps in (
        (across, np.diff(error, axis=1)),
        (down, np.diff(error, axis=0).swapaxes(0, 1)),
    ):
        at.append(steps[:, lines[:-1]].ravel())
        inside.append(steps[:, ~lines[:-1]].ravel())
    strong, usual = (np.sqrt(np.mean(np.concatenate(part) ** 2)) for part in (at, inside))
    return float(strong - usual)


if __name__ == "__main__":
    main()
