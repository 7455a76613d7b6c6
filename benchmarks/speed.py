"""Time to quality: the presets beside the original method, on the same pixels, in the same process.

Run as ``python benchmarks/speed.py [--images F16 ...] [--side 256] [--sigma 25] [--reference 1200]
[--presets denoise-fast denoise denoise-best] [--threads 2]``. The original runs for so many steps and is
scored by the truth at every tenth; so are the presets' running averages. Printed is how long each takes
to the original's best PSNR less half a decibel, and to its best, and the ratio of the times; then where
the preset stopped by itself, after its second look, and how long all of that took.

With ``--stack N`` as many noisy frames of each image are restored as a stack instead, and one by one.
"""

import argparse
import time

import numpy as np

import reference
from common import conditions, header, psnr, row
from napari_dip import Observation, Recipe, drain, restore
from napari_dip.torch_import import torch
from quality import truth_of

AXES = {2: "YX", 3: "YXC"}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=["F16"])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--reference", type=int, default=1200)
    parser.add_argument("--presets", nargs="+", default=["denoise-fast", "denoise", "denoise-best"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--stack", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(conditions(asked.threads), flush=True)
    for name in asked.images:
        (stack if asked.stack else beside_the_original)(asked, name)


def beside_the_original(asked, name: str) -> None:
    """One image's table."""
    truth = truth_of(name, asked.side)
    data = truth + np.random.default_rng(0).normal(0, asked.sigma, truth.shape)
    given, light = (np.moveaxis(np.atleast_3d(a), -1, 0) / 255 for a in (data, truth))
    found = reference.oracle(given, lambda x: x, light, reference.DENOISE, steps=asked.reference)
    course, best = found["course"], found["average"]
    bars = best - 0.5, best
    theirs = [reached(course, bar) for bar in bars]
    print(
        f"\n{name}, {asked.side} px, noise {asked.sigma:g}: the original's best {best:.2f} dB at step"
        f" {found['average_at']} of {asked.reference}, {course[-1][0] / asked.reference:.2f} s a step\n"
    )
    header(
        "way", f"to {bars[0]:.2f} dB [s]", "ratio", f"to {bars[1]:.2f} dB [s]", "ratio",
        "stopped at [dB]", "after [s]",
    )  # fmt: skip
    row("original", f"{theirs[0]:.0f}", "1", f"{theirs[1]:.0f}", "1", "-", "-")
    for preset in asked.presets:
        ours, final = run(Recipe.preset(preset), data, truth)
        times = [reached([*ours, final], bar) for bar in bars]
        ratios = [t / o for t, o in zip(theirs, times, strict=True)]
        row(
            preset, f"{times[0]:.1f}", f"{ratios[0]:.1f}", f"{times[1]:.1f}", f"{ratios[1]:.1f}",
            f"{final[1]:.2f}", f"{final[0]:.0f}",
        )  # fmt: skip


def run(recipe: Recipe, data: np.ndarray, truth: np.ndarray):
    """Seconds and PSNR along the way, and of the result; scoring takes no time."""
    observation = Observation.from_array(data, axes=AXES[data.ndim])
    course, lost, begun = [], 0.0, time.perf_counter()
    running = restore(recipe, observation, snapshot_every=10)
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
    recipe = Recipe.preset(asked.presets[0])
    begun = time.perf_counter()
    alone = np.stack(
        [drain(restore(recipe, Observation.from_array(f, axes=AXES[f.ndim]))).image for f in frames]
    )
    between = time.perf_counter()
    whole = drain(restore(recipe, Observation.from_array(frames, axes=f"T{AXES[truth.ndim]}"))).image
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
