"""Large images: one network for crops, tiles, and the whole image, on the same pixels; and the cost of
a megapixel.

Run as ``python benchmarks/large.py [--images sky-9 cave ...] [--side 1024] [--tiles amortized 0 640
bm3d ...] [--steps N] [--preset denoise] [--sigma 25] [--seed 0] [--threads 1]``. Prints a row for each
way: *amortized*, 0 for one fit to the whole image, the largest side of a tile, or the rival *bm3d*,
which is given the true sigma. *cave*, *cave-gray* and *maize* are whole pictures, *nuclei* a simulated
field of nuclei with texture. Steps and seconds are per megapixel of the image. Of star fields the
fluxes of all stars in 7 x 7 pixels follow, by their signal-to-noise ratio there: the median of their
relative error, and that of their relative distance from the flux of the noisy image. The memory is the
peak of the process so far, above what it used before the row: request one row for each process. The
seam is how much more the errors of neighboring pixels differ where two tiles meet than elsewhere,
r.m.s., in units of the noise. With ``--steps`` every fit ends there: for seconds and memory only.
"""

import argparse
import resource
import time

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, uniform_filter
from skimage.io import imread

import quality
from common import DATA, conditions, header, natural, psnr, row, selected_steps
from napari_dip import Observation, Recipe, restore
from napari_dip.core.fit_data import iter_planes
from napari_dip.core.torch_import import torch
from napari_dip.fitting.amortized import CROP_PX, CROPS_PER_STEP
from napari_dip.run.tiles.planner import plan_tiles


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=["sky-9"])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--tiles", nargs="+", default=["amortized", "0", "640"])
    parser.add_argument("--preset", default="denoise")
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--steps", type=int, help="limit for each fit: for memory and seconds only")
    parser.add_argument("--seed", type=int, default=0)
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
        truth = truth_of(name, args.side)
        data = truth + np.random.default_rng(args.seed).normal(0, args.sigma, truth.shape)
        observation = Observation.from_array(data, axes="YXC" if truth.ndim == 3 else "YX")
        for side in args.tiles:
            if side == "bm3d":
                started = time.perf_counter()
                image = quality.bm3d_of(data, f"gaussian-{args.sigma:g}")
                seconds = (time.perf_counter() - started) / (truth.shape[0] * truth.shape[1]) * 1e6
                score = psnr(truth, image)
                row(name, _shape(truth), side, f"{score:.2f}", "-", f"{seconds:.0f}", "-", "-", "-")
            else:
                restored(args, name, truth, observation, side)


def truth_of(name: str, side: int) -> np.ndarray:
    """Return an image (Y, X) or (Y, X, C) from 0 to 255 without noise."""
    match name:
        case "cave":
            return natural("cave01_00_flash.jpg")
        case "cave-gray":
            return natural("cave01_00_flash.jpg").mean(axis=-1)
        case "maize":
            image = imread(DATA / "microscopy" / "maize_clsm.tif").astype(float)
            return image[0] if image.ndim == 3 else image
        case "nuclei":
            return nuclei(side)
        case _:
            return quality.truth_of(name, side)


def nuclei(side: int) -> np.ndarray:
    """Return elliptic nuclei with texture, one in 36 x 36 pixels, on a dark background (Y, X)."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.normal(0, 1, (side, side)), 1.5)
    texture *= 0.25 / texture.std()
    inside = np.zeros((side, side))
    grid = np.mgrid[-20:21, -20:21]
    for _ in range(side * side // 36**2):
        y, x = rng.integers(20, side - 20, 2)
        angle, radii = rng.uniform(0, np.pi), rng.uniform(6, 14, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        distance = np.sqrt(((np.tensordot(turn, grid, 1) / radii[:, None, None]) ** 2).sum(axis=0))
        window = np.s_[y - 20 : y + 21, x - 20 : x + 21]
        mask = rng.uniform(80, 200) / (1 + np.exp((distance - 1) * 10))
        inside[window] = np.maximum(inside[window], mask)
    return 12 + np.maximum(inside * (1 + texture), 0)


def _shape(truth: np.ndarray) -> str:
    return "x".join(map(str, truth.shape))


def restored(args, name: str, truth: np.ndarray, observation: Observation, side: str) -> None:
    """Print one row of the table."""
    changes = {"compute.memory_limit_gb": 1000.0}
    if side == "amortized":
        changes["solver.method"] = "amortized"
    else:
        changes["compute.tile_size"] = int(side) or 8192
    if args.steps:
        changes["solver.max_steps"] = args.steps
    recipe = Recipe.preset(args.preset).with_settings(changes)
    device = recipe.compute.resolve_device()
    ((_, data),) = iter_planes(observation)
    plan = plan_tiles(recipe, data, device)
    tiles = plan.tiles
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    result = restore(observation, recipe)
    seconds = time.perf_counter() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e9
    megapixels = observation.y.size / observation.y.shape[1] / 1e6
    if plan.is_amortized:
        how, pixels = "amortized", CROPS_PER_STEP * CROP_PX**2 * sum(len(h.loss) for h in result.history)
    else:
        how = f"{len(tiles)} of {len(tiles[0].weights[1])} px" if len(tiles) > 1 else "whole image"
        fits = zip(tiles, result.history, strict=False)  # constant tiles have none
        pixels = sum(len(t.weights[0]) * len(t.weights[1]) * len(h.loss) for t, h in fits)
    row(
        name,
        _shape(truth),
        how,
        f"{psnr(truth, result.image):.2f}",
        f"{pixels / 1e6 / megapixels:.0f}",
        f"{seconds / megapixels:.0f}",
        f"{memory:.2f}",
        "-" if len(tiles) == 1 else f"{seam(result.image - truth, tiles) / args.sigma:.3f}",
        selected_steps(result),
    )
    if name.startswith("sky"):
        print_fluxes(args.sigma, truth, np.squeeze(observation.y), result.image)


def print_fluxes(sigma: float, truth: np.ndarray, data: np.ndarray, image: np.ndarray) -> None:
    """Print how far the fluxes of the stars of a sky of 25 are from the truth, and from the data."""
    peaks = truth == maximum_filter(truth, 7)
    peaks[:8] = peaks[-8:] = peaks[:, :8] = peaks[:, -8:] = False
    true, noisy, found = (49 * uniform_filter(x - 25.0, 7)[peaks] for x in (truth, data, image))
    ratio = true / (7 * sigma)
    for low, high in ((3, 5), (5, 10), (10, 20), (20, 50), (50, np.inf)):
        inside = (ratio > low) & (ratio < high)
        bias, change = (100 * np.median((found - x)[inside] / true[inside]) for x in (true, noisy))
        print(
            f"  S/N {low} to {high}: {inside.sum()} stars, {bias:+.2f} %, from the data {change:+.2f} %"
        )
    total, own = (100 * (x.sum(dtype=float) / truth.sum() - 1) for x in (image, data))
    print(f"  total flux {total:+.4f} %, of the data {own:+.4f} %")


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
