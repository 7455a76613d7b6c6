"""GPUs: seconds, quality and memory of each way to fit, on one device, in about eight minutes.

Run as ``python benchmarks/gpu.py [--device cuda] [--cases whole-512 ...] [--budget 480] [--compile]
[--small]``. The seconds are those of a second run on the same data, when kernels are loaded. A row that
exceeds its share of the budget is stopped, and keeps what it has. With ``--compile`` a row follows for
each fit to a whole image with its network compiled (CUDA graphs on CUDA). ``--small`` is a dry run for
any machine. Noise and random numbers have seed 0; the truth scores, and chooses nothing.
"""

import argparse
import time
from contextlib import nullcontext
from unittest import mock

import numpy as np

import quality
from common import conditions, header, psnr, row
from napari_dip import Observation, Recipe, iter_restore
from napari_dip.core.torch_import import torch
from napari_dip.prior.generator import Prior

SIGMA = 25.0
WHOLE = {"solver.method": "whole"}
# preset, image, shape of the data, axes, settings, and share of the budget
CASES = {
    "whole-256": ("denoise", "F16", (256, 256), "YX", WHOLE, 0.08),
    "whole-512": ("denoise", "F16", (512, 512), "YX", WHOLE, 0.15),
    "ensemble-256": ("denoise", "F16", (256, 256), "YX", {**WHOLE, "ensemble.size": 4}, 0.17),
    "amortized-1M": ("denoise", "sky-9", (1024, 1024), "YX", {}, 0.1),
    "amortized-16M": ("denoise", "sky-9", (4096, 4096), "YX", {}, 0.2),
    "series": ("time-series", "F16", (20, 192, 192), "TYX", {}, 0.15),
    "volume": ("volume", "F16", (32, 128, 128), "ZYX", {}, 0.15),
}
SMALL = {"solver.max_steps": 12, "ensemble.size": 1}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--budget", type=float, default=480.0, help="of all rows [s]")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    print(conditions(torch.get_num_threads()), flush=True)
    header("case", "shape", "precision", "steps", "s", "ms / step", "PSNR", "memory [GB]", "note")
    for name in args.cases:
        for is_compiled in (False, True) if args.compile and "amortized" not in name else (False,):
            measure(name, args, is_compiled=is_compiled)


def scene(image: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a gray image, or one that moves by a pixel from plane to plane."""
    truth = quality.truth_of(image, shape[-1])
    truth = truth if truth.ndim == 2 else truth.mean(axis=-1)
    if len(shape) == 2:
        return truth
    return np.stack([np.roll(truth, number, axis=1) for number in range(shape[0])])


def measure(name: str, args: argparse.Namespace, *, is_compiled: bool) -> None:
    """Print one row of the table."""
    preset, image, shape, axes, settings, share = CASES[name]
    if args.small:
        shape = (*(min(n, 4) for n in shape[:-2]), *(min(n, 160) for n in shape[-2:]))
        settings = {**settings, **SMALL}
        settings |= {"solver.method": "amortized"} if "amortized" in name else {}
    recipe = Recipe.preset(preset).with_settings({**settings, "compute.device": args.device})
    device = recipe.compute.resolve_device()
    truth = scene(image, shape)
    data = truth + np.random.default_rng(0).normal(0, SIGMA, truth.shape)
    observation = Observation.from_array(data.astype(np.float32), axes=axes)
    with compiled_networks() if is_compiled else nullcontext():
        warm_up = recipe.with_settings({"solver.max_steps": 12, "ensemble.size": 1})
        run_for(60.0, observation.select_planes(slice(0, 1), slice(0, None)), warm_up)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        result, was_stopped = run_for(share * args.budget, observation, recipe)
        seconds = time.perf_counter() - started
    row(
        name + (", compiled" if is_compiled else ""),
        "x".join(map(str, shape)),
        result.provenance.precision,
        result.steps,
        f"{seconds:.1f}",
        f"{1000 * seconds / max(result.steps, 1):.1f}",
        f"{psnr(truth, result.image):.2f}",
        f"{torch.cuda.max_memory_allocated() / 1e9:.2f}" if device.type == "cuda" else "-",
        "stopped at its share of the budget" if was_stopped else "",
    )


def run_for(seconds: float, observation: Observation, recipe: Recipe):
    """Return the result of a run, which is stopped after a while, and whether it was."""
    end, was_stopped = time.perf_counter() + seconds, False
    with iter_restore(observation, recipe) as run:
        for _ in run:
            if time.perf_counter() > end:
                run.stop()
                was_stopped = True
        return run.result, was_stopped


def compiled_networks():
    """Compile the network of each fit in this context."""
    build = Prior.build

    def compiled(*args, **options):
        prior = build(*args, **options)
        prior.network = torch.compile(prior.network, mode="reduce-overhead")
        return prior

    return mock.patch.object(Prior, "build", compiled)


if __name__ == "__main__":
    main()
