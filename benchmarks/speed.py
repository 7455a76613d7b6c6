"""Time to quality: the levels beside the original method, on the same pixels, in the same process.

Run as ``python benchmarks/speed.py [--task denoise | inpaint | super-resolution] [--images F16 ...]
[--side 256] [--sigma 25] [--reference 1200] [--levels fast balanced best] [--threads 2]``. The original
runs for so many steps and is scored by the truth at every tenth; so are the levels' running averages.
Printed is how long each takes to the original's best PSNR less a margin (half a decibel of denoising,
a fifth of the others), and to its best, and the ratio of the times; then where the level stopped by
itself, after its second look, and how long all of that took. Half of the pixels are missing in
*inpaint*, and the known ones are put back before the original is scored, as ours are;
*super-resolution* is by four along each axis.

With ``--stack N`` as many noisy frames of each image are restored as a stack instead, and one by one.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import reference
from common import conditions, header, psnr, row
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch
from napari_dip.run.recipe import QUALITIES
from napari_dip.run.restoration import iter_restoration
from quality import truth_of
from stills import channels_first, lanczos2_forward, lanczos3

AXES = {2: "YX", 3: "YXC"}


@dataclass(frozen=True)
class Task:
    """What is done to the truth, by which preset it is undone, and how the original does it."""

    preset: str
    spoilt: Callable[[np.ndarray, float], np.ndarray]
    settings: reference.Settings
    forward: Callable[[torch.Tensor], torch.Tensor]
    margin: float


def noisy(truth: np.ndarray, sigma: float) -> np.ndarray:
    """With Gaussian noise."""
    return truth + np.random.default_rng(0).normal(0, sigma, truth.shape)


def holed(truth: np.ndarray, _: float) -> np.ndarray:
    """Without half of the pixels."""
    missing = np.random.default_rng(0).random(truth.shape[:2]) < 0.5
    return np.where(missing if truth.ndim == 2 else missing[..., None], np.nan, truth)


TASKS = {
    "denoise": Task("denoise", noisy, reference.DENOISE, lambda x: x, 0.5),
    "inpaint": Task("inpaint-random", holed, reference.RANDOM_PIXELS, lambda x: x, 0.2),
    "super-resolution": Task(
        "super-resolution",
        lambda truth, _: lanczos3(truth, 4),
        reference.SUPER_RESOLUTION,
        lanczos2_forward(4),
        0.2,
    ),
}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="denoise")
    parser.add_argument("--images", nargs="+", default=["F16"])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--reference", type=int, default=1200)
    parser.add_argument("--levels", nargs="+", choices=QUALITIES, default=QUALITIES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--stack", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(conditions(asked.threads), flush=True)
    for name in asked.images:
        (stack if asked.stack else beside_the_original)(asked, name)


def beside_the_original(asked, name: str) -> None:
    """One image's table."""
    truth, task = truth_of(name, asked.side), TASKS[asked.task]
    data = task.spoilt(truth, asked.sigma)
    found = reference.oracle(
        channels_first(data), task.forward, channels_first(truth), task.settings,
        steps=asked.reference, hard_data_consistency=task.spoilt is holed,
    )  # fmt: skip
    course, best = found["course"], found["average"]
    bars = best - task.margin, best
    theirs = [reached(course, bar) for bar in bars]
    of = f" of {asked.sigma:g}" if task.spoilt is noisy else ""
    print(
        f"\n{asked.task}{of}, {name}, {asked.side} px: the original's best {best:.2f} dB at step"
        f" {found['average_at']} of {asked.reference}, {course[-1][0] / asked.reference:.2f} s a step\n"
    )
    header(
        "way", f"to {bars[0]:.2f} dB [s]", "ratio", f"to {bars[1]:.2f} dB [s]", "ratio",
        "stopped at [dB]", "after [s]",
    )  # fmt: skip
    row("original", f"{theirs[0]:.0f}", "1", f"{theirs[1]:.0f}", "1", "-", "-")
    for level in asked.levels:
        ours, final = run(Recipe.preset(task.preset).with_quality(level), data, truth)
        times = [reached([*ours, final], bar) for bar in bars]
        ratios = [t / o for t, o in zip(theirs, times, strict=True)]
        row(
            level, f"{times[0]:.1f}", f"{ratios[0]:.1f}", f"{times[1]:.1f}", f"{ratios[1]:.1f}",
            f"{final[1]:.2f}", f"{final[0]:.0f}",
        )  # fmt: skip


def run(recipe: Recipe, data: np.ndarray, truth: np.ndarray):
    """Seconds and PSNR along the way, and of the result; scoring takes no time."""
    observation = Observation.from_array(data, axes=AXES[data.ndim])
    course, lost, begun = [], 0.0, time.perf_counter()
    running = iter_restoration(observation, recipe, snapshot_every=10)
    while True:
        try:
            iterate = next(running)
        except StopIteration as end:
            seconds = time.perf_counter() - begun - lost
            return course, (seconds, psnr(truth, end.value.image))
        paused = time.perf_counter()
        if iterate.image is not None:
            course.append((paused - begun - lost, psnr(truth, iterate.image)))
        lost += time.perf_counter() - paused


def reached(course, bar: float) -> float:
    """The seconds after which a course is first as good as `bar`; infinite if never."""
    return next((seconds for seconds, score in course if score >= bar), float("inf"))


def stack(asked, name: str) -> None:
    """Noisy frames of one image, as a stack and one by one."""
    truth = truth_of(name, asked.side)
    rng = np.random.default_rng(0)
    frames = np.stack([truth + rng.normal(0, asked.sigma, truth.shape) for _ in range(asked.stack)])
    recipe = Recipe.preset("denoise").with_quality(asked.levels[0])
    begun = time.perf_counter()
    alone = np.stack(
        [restore(Observation.from_array(f, axes=AXES[f.ndim]), recipe).image for f in frames]
    )
    between = time.perf_counter()
    whole = restore(Observation.from_array(frames, axes=f"T{AXES[truth.ndim]}"), recipe).image
    seconds = between - begun, time.perf_counter() - between
    scores = [[psnr(truth, frame) for frame in frames] for frames in (alone, whole)]
    print(
        f"{name}, {asked.stack} frames of {asked.side} px: one by one {seconds[0]:.0f} s,"
        f" {np.mean(scores[0]):.2f} dB; as a stack {seconds[1]:.0f} s, {np.mean(scores[1]):.2f} dB;"
        f" ratio {seconds[0] / seconds[1]:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
