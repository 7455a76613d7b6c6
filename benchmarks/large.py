"""Large images: tiles compared with the whole image, on the same pixels; and the cost of a megapixel.

Run as ``python benchmarks/large.py [--images sky-9 ...] [--side 1024] [--tiles 0 640 ...] [--steps N]
[--preset denoise] [--sigma 25] [--threads 1]``. Prints a row for each tile size: 0 is the whole image,
other numbers are the largest side of a tile. Steps and seconds are per megapixel of the image. The
memory is the peak of the process so far, above what it used before the row: request one row for each
process. The seam is how much more the errors of neighboring pixels differ where two tiles meet than
elsewhere, r.m.s., in units of the noise. With ``--steps`` every fit ends there: for seconds and memory
only.
"""

import argparse
import resource
import time

import numpy as np

import quality
from common import conditions, header, psnr, row, selected_steps
from napari_dip import Observation, Recipe, restore
from napari_dip.core.fit_data import iter_planes
from napari_dip.core.torch_import import torch
from napari_dip.run.tiles.planner import plan_tiles


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=["sky-9"])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--tiles", type=int, nargs="+", default=[0, 640])
    parser.add_argument("--preset", default="denoise")
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--steps", type=int, help="limit for each fit: for memory and seconds only")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(conditions(args.threads), flush=True)
    header(
        "image",
        "pixels",
        "tiles",
        "PSNR",
        "steps / Mpx",
        "s / Mpx",
        "memory [GB]",
        "seam [noise]",
        "selected step",
    )
    for name in args.images:
        truth = quality.truth_of(name, args.side)
        data = truth + np.random.default_rng(0).normal(0, args.sigma, truth.shape)
        observation = Observation.from_array(data, axes="YXC" if truth.ndim == 3 else "YX")
        for side in args.tiles:
            restored(args, name, truth, observation, side)


def restored(args, name: str, truth: np.ndarray, observation: Observation, side: int) -> None:
    """Print one row of the table."""
    changes = {"compute.tile_size": side or 8192, "compute.memory_limit_gb": 1000.0}
    if args.steps:
        changes["solver.max_steps"] = args.steps
    recipe = Recipe.preset(args.preset).with_settings(changes)
    device = recipe.compute.resolve_device()
    ((_, data),) = iter_planes(observation)
    tiles, _ = plan_tiles(recipe, data, device)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    result = restore(observation, recipe)
    seconds = time.perf_counter() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e9
    megapixels = observation.y.size / observation.y.shape[1] / 1e6
    fits = zip(tiles, result.history, strict=False)  # constant tiles have none
    pixels = sum(len(t.weights[0]) * len(t.weights[1]) * len(h.loss) for t, h in fits)
    row(
        name,
        "x".join(map(str, truth.shape)),
        f"{len(tiles)} of {len(tiles[0].weights[1])} px" if len(tiles) > 1 else "whole image",
        f"{psnr(truth, result.image):.2f}",
        f"{pixels / 1e6 / megapixels:.0f}",
        f"{seconds / megapixels:.0f}",
        f"{memory:.2f}",
        "-" if len(tiles) == 1 else f"{seam(result.image - truth, tiles) / args.sigma:.3f}",
        selected_steps(result),
    )


def seam(error: np.ndarray, tiles) -> float:
    """Return how much more neighbors differ in the middle of each blend than elsewhere, r.m.s."""
    across, down = np.zeros(error.shape[1], bool), np.zeros(error.shape[0], bool)
    for tile in tiles:
        for lines, along, weights in zip(
            (down, across), (tile.rows, tile.columns), tile.weights, strict=True
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
    seams, elsewhere = (np.sqrt(np.mean(np.concatenate(part) ** 2)) for part in (at, inside))
    return float(seams - elsewhere)


if __name__ == "__main__":
    main()
