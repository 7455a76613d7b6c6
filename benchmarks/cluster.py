"""One image on several workers: measured on two, and simulated for a mosaic of a gigapixel.

Run as ``python benchmarks/cluster.py [--side 2048] [--steps 300] [--gigabit 10] [--workers 1 8 32 64]``.
A network is fitted to crops of a star field and applied to its parts by one and by two workers of a
`LocalCluster`, twice in turn, the first time to load libraries; the images are compared bit for bit.
Then what a part costs is measured in this process: to cut it out and to pack it, the work itself, to
unpack and to blend it in. The simulation resamples the seconds of the work at random (seed 0) and sends
parts and results over one link of so many Gbit/s to the process that reads and writes the mosaic, which
does one thing at a time; a worker waits until its result is taken and it has the next part. The fit has
3000 steps, on one worker.
"""

import argparse
import heapq
import pickle
import time

import numpy as np

import quality
from common import conditions, header, row
from napari_dip import Observation, Recipe
from napari_dip.core.fit_data import iter_planes
from napari_dip.core.torch_import import torch
from napari_dip.run.amortized import fit_members
from napari_dip.run.executors import dask_workers
from napari_dip.run.tiles.application import TileTask, apply_on_workers
from napari_dip.run.tiles.planner import APPLICATION_TILE_PX, plan_tiles
from napari_dip.run.tiles.tile import TileBlender, noise_sample
from napari_dip.run.warm_start import WarmStart

SIGMA = 25.0
FIT_STEPS = Recipe().solver.max_steps
GIGAPIXEL_PARTS = round(1e9 / APPLICATION_TILE_PX**2)


def main() -> None:
    """Print what was measured, and the table of the simulation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=300, help="of the fit, which is timed")
    parser.add_argument("--gigabit", type=float, default=10.0, help="of the link [Gbit/s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32, 64])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(conditions(1), flush=True)
    truth = quality.truth_of("sky-9", args.side)
    data = truth + np.random.default_rng(0).normal(0, SIGMA, truth.shape)
    recipe = Recipe().with_settings({"compute.num_threads": 1, "compute.device": "cpu"})
    ((_, planes),) = iter_planes(Observation.from_array(data.astype(np.float32), axes="YX"))
    tiles = plan_tiles(recipe, planes, torch.device("cpu")).tiles
    task, fit_seconds = fitted(recipe.with_settings({"solver.max_steps": args.steps}), planes, tiles)
    print(f"fit: {fit_seconds:.0f} s for {args.steps} steps; {len(tiles)} parts\n", flush=True)
    measure_workers(task, planes, tiles)
    compare_with_simulation(task, planes, tiles, fit_seconds * FIT_STEPS / args.steps, args)


def fitted(recipe: Recipe, planes, tiles) -> tuple[TileTask, float]:
    """Return the task of a worker, and the seconds that the fit took."""
    reference = recipe.noise.likelihood(noise_sample(planes, tiles))
    started = time.perf_counter()
    fitting = fit_members(recipe, planes, reference, torch.device("cpu"), WarmStart(recipe))
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            return TileTask(recipe, reference, tuple(end.value)), time.perf_counter() - started


def measure_workers(task: TileTask, planes, tiles) -> None:
    """Print the seconds of one and of two workers, and whether their images are equal."""
    from distributed import LocalCluster

    header("workers", "s", "ratio", "equal")
    images, seconds = {}, {}
    for number in (1, 2):
        options = {"n_workers": number, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as cluster:
            for _ in range(2):
                blender = TileBlender(np.full(planes.y.shape[1:], np.nan, np.float32))
                started = time.perf_counter()
                parts = ((tile, tile.cut(planes)) for tile in tiles)
                workers = lambda: dask_workers(cluster.scheduler_address)  # noqa: E731
                for finished in apply_on_workers(task, parts, workers):
                    if finished is not None:
                        blender.add(finished[0], finished[1].x)
                seconds[number], images[number] = time.perf_counter() - started, blender.planes
        equal = np.array_equal(images[1], images[number])
        row(number, f"{seconds[number]:.1f}", f"{seconds[1] / seconds[number]:.2f}", equal)


def compare_with_simulation(task: TileTask, planes, tiles, fit_seconds: float, args) -> None:
    """Measure the constants of a part, and print the table of the simulated gigapixel."""
    work, busy, megabytes = [], [], []
    blender = TileBlender(np.full(planes.y.shape[1:], np.nan, np.float32))
    for tile in tiles:
        corner = tile.rows.start, tile.columns.start
        started = time.perf_counter()
        sent = pickle.dumps((task.run, tile.cut(planes), corner))
        packed = time.perf_counter()
        run, part, corner = pickle.loads(sent)
        received = pickle.dumps(run(part, corner))
        worked = time.perf_counter()
        blender.add(tile, pickle.loads(received).x)
        blended = time.perf_counter()
        work.append(worked - packed)
        busy.append(packed - started + blended - worked)
        megabytes.append((len(sent) + len(received)) / 1e6)
    own, moved = float(np.mean(busy)), float(np.mean(megabytes))
    link = moved * 8e-3 / args.gigabit
    print(
        f"\na part: {np.mean(work):.2f} s of work (standard deviation {np.std(work):.2f}),"
        f" {1e3 * own:.0f} ms to pack and blend, {moved:.0f} MB, {1e3 * link:.0f} ms on the link\n"
    )
    header("workers", "application [min]", "with the fit [min]", "speedup", "share of its maximum")
    single = simulate(1, work, own + link)
    for number in args.workers:
        seconds = simulate(number, work, own + link)
        total = (seconds + fit_seconds) / 60
        speedup = single / seconds
        row(number, f"{seconds / 60:.1f}", f"{total:.1f}", f"{speedup:.1f}", f"{speedup / number:.2f}")


def simulate(number: int, work: list[float], between: float) -> float:
    """Return the seconds that `number` workers take for a gigapixel.

    Parameters
    ----------
    number : int
        Of workers.
    work : list of float
        Seconds of parts, which are drawn at random.
    between : float
        Seconds for which the process in the middle is busy with a part, half of them before. [s]
    """
    durations = np.random.default_rng(0).choice(work, GIGAPIXEL_PARTS)
    events = [(0.0, "free")] * number  # when a worker wants a part, or its result is to be fetched
    clock, waiting = 0.0, iter(durations)
    while events:
        at, kind = heapq.heappop(events)
        if kind == "done":
            clock = max(clock, at) + between / 2
        duration = next(waiting, None)
        if duration is not None:
            clock = max(clock, at) + between / 2
            heapq.heappush(events, (clock + duration, "done"))
    return clock


if __name__ == "__main__":
    main()
