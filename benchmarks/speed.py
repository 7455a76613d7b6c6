"""Time to quality: napari-dip compared with the original method, on the same pixels, in one process.

Run as ``python benchmarks/speed.py [--task denoise | inpaint | super-resolution] [--images F16 ...]
[--side 256] [--sigma 25] [--reference 1200] [--qualities fast balanced best] [--threads 2]``. The
original runs for that many steps and is scored by the truth at every tenth step, as are the running
averages of napari-dip. Printed is how long each takes to reach the best PSNR of the original less a
margin (0.5 dB for denoising, 0.2 dB for the others), and to reach its best PSNR, and the ratio of the
times; then the PSNR of the result, after the automatic stop and the refinement, and the time of the
whole run. *inpaint* misses half of the pixels, and the observed ones are put back before an image is
scored. *super-resolution* is by a factor of four along each axis.

With ``--stack N`` that many noisy frames of each image are restored instead, as a stack and one by one.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import reference
from common import conditions, header, psnr, row
from napari_dip import Observation, Recipe, iter_restore, restore
from napari_dip.core.torch_import import torch
from napari_dip.run.recipe import QUALITIES
from quality import truth_of
from stills import channels_first, lanczos2_forward, lanczos3

AXES = {2: "YX", 3: "YXC"}


@dataclass(frozen=True)
class Task:
    """How the data are made of the truth, the preset that restores them, and the original's settings."""

    preset: str
    degrade: Callable[[np.ndarray, float], np.ndarray]
    settings: reference.Settings
    forward: Callable[[torch.Tensor], torch.Tensor]
    margin: float


def noisy(truth: np.ndarray, sigma: float) -> np.ndarray:
    """Return the truth with Gaussian noise."""
    return truth + np.random.default_rng(0).normal(0, sigma, truth.shape)


def half_missing(truth: np.ndarray, _: float) -> np.ndarray:
    """Return the truth without half of the pixels."""
    missing = np.random.default_rng(0).random(truth.shape[:2]) < 0.5
    return np.where(missing if truth.ndim == 2 else missing[..., None], np.nan, truth)


TASKS = {
    "denoise": Task("denoise", noisy, reference.DENOISE, lambda x: x, 0.5),
    "inpaint": Task("inpaint-random", half_missing, reference.RANDOM_PIXELS, lambda x: x, 0.2),
    "super-resolution": Task(
        "super-resolution",
        lambda truth, _: lanczos3(truth, 4),
        reference.SUPER_RESOLUTION,
        lanczos2_forward(4),
        0.2,
    ),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="denoise")
    parser.add_argument("--images", nargs="+", default=["F16"])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--reference", type=int, default=1200)
    parser.add_argument("--qualities", nargs="+", choices=QUALITIES, default=QUALITIES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--stack", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(conditions(args.threads), flush=True)
    for name in args.images:
        (compare_stack if args.stack else compare_with_original)(args, name)


def compare_with_original(args, name: str) -> None:
    """Print the table of one image."""
    truth, task = truth_of(name, args.side), TASKS[args.task]
    data = task.degrade(truth, args.sigma)
    original = reference.oracle(
        channels_first(data), task.forward, channels_first(truth), task.settings,
        steps=args.reference, hard_data_consistency=task.degrade is half_missing,
    )  # fmt: skip
    course, best = original["course"], original["average"]
    targets = best - task.margin, best
    theirs = [time_to(course, target) for target in targets]
    of = f" of {args.sigma:g}" if task.degrade is noisy else ""
    print(
        f"\n{args.task}{of}, {name}, {args.side} px: best of the original {best:.2f} dB at step"
        f" {original['average_at']} of {args.reference}, "
        f"{course[-1][0] / args.reference:.2f} s per step\n"
    )
    header(
        "method", f"to {targets[0]:.2f} dB [s]", "ratio", f"to {targets[1]:.2f} dB [s]", "ratio",
        "result [dB]", "after [s]",
    )  # fmt: skip
    row("original", f"{theirs[0]:.0f}", "1", f"{theirs[1]:.0f}", "1", "-", "-")
    for quality in args.qualities:
        ours, final = run(Recipe.preset(task.preset).with_quality(quality), data, truth)
        times = [time_to([*ours, final], target) for target in targets]
        ratios = [t / o for t, o in zip(theirs, times, strict=True)]
        row(
            quality, f"{times[0]:.1f}", f"{ratios[0]:.1f}", f"{times[1]:.1f}", f"{ratios[1]:.1f}",
            f"{final[1]:.2f}", f"{final[0]:.0f}",
        )  # fmt: skip


def run(recipe: Recipe, data: np.ndarray, truth: np.ndarray):
    """Return the seconds, without scoring, and the PSNR at each report, and those of the result."""
    observation = Observation.from_array(data, axes=AXES[data.ndim])
    course, lost, started = [], 0.0, time.perf_counter()
    with iter_restore(observation, recipe, snapshot_every=10) as running:
        for progress in running:
            paused = time.perf_counter()
            if progress.image is not None:
                course.append((paused - started - lost, psnr(truth, progress.image)))
            lost += time.perf_counter() - paused
        seconds = time.perf_counter() - started - lost
        return course, (seconds, psnr(truth, running.result.image))


def time_to(course, target: float) -> float:
    """Return the seconds after which a course first reaches `target`; infinity if never."""
    return next((seconds for seconds, score in course if score >= target), float("inf"))


def compare_stack(args, name: str) -> None:
    """Print how long noisy frames of one image take, as a stack and one by one."""
    truth = truth_of(name, args.side)
    rng = np.random.default_rng(0)
    frames = np.stack([truth + rng.normal(0, args.sigma, truth.shape) for _ in range(args.stack)])
    recipe = Recipe.preset("denoise").with_quality(args.qualities[0])
    started = time.perf_counter()
    alone = np.stack(
        [restore(Observation.from_array(f, axes=AXES[f.ndim]), recipe).image for f in frames]
    )
    between = time.perf_counter()
    whole = restore(Observation.from_array(frames, axes=f"T{AXES[truth.ndim]}"), recipe).image
    seconds = between - started, time.perf_counter() - between
    scores = [[psnr(truth, frame) for frame in frames] for frames in (alone, whole)]
    print(
        f"{name}, {args.stack} frames of {args.side} px: one by one {seconds[0]:.0f} s,"
        f" {np.mean(scores[0]):.2f} dB; as a stack {seconds[1]:.0f} s, {np.mean(scores[1]):.2f} dB;"
        f" ratio {seconds[0] / seconds[1]:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
