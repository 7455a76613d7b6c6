"""Time series: all frames jointly compared with frame by frame, on simulated movies and a real one.

Run as ``python benchmarks/series.py [--images dsb ...] [--methods denoise time-series@fast ...]
[--photons 20] [--task denoise|dead|scratch] [--drift 0] [--frames 20] [--seed 0] [--threads 1]``. For
the simulated movies the cells of a real image are cut out, most of them move, and photon noise is drawn.
The PSNR is that of the whole movie; flicker is the variance over time where nothing moves; the path
error is the r.m.s. error of the centroids of moving cells. With ``--drift`` the whole image drifts by
this number of pixels, and jitters. With ``--photographs camera ... [--moves 1] [--sigma 25]``, windows
of a photograph move by a number of pixels from frame to frame. With ``--real`` the odd frames of a real
movie are restored, and compared with the even frames between them: the difference contains the noise of
these, so that only differences between the methods matter.
"""

import argparse
import json
import time
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from tifffile import imread

from common import DATA, center, conditions, figure, header, natural, psnr, row, selected_steps
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch

IMAGES = {
    "dsb": ("stardist_img2d_dsb2018.tif", (slice(100, 292), slice(100, 292))),
    "dsb-2": ("stardist_img2d_dsb2018.tif", (slice(300, 492), slice(300, 492))),
    "bbbc022": ("bbbc022_IXMtest_A02_s9_composite.tif", (0, slice(0, 192), slice(500, 692))),
}
PHOTOGRAPH_PX = 256
REAL = "cancer_cell_migration_crop.tif"
METHODS = {  # besides the presets: presets with other settings
    "low-rank": ("time-series", {"network.kind": "low-rank", "network.channels": 64}),
    "time-dependent": ("time-series", {"network.kind": "time-dependent", "network.channels": 64}),
    "smooth": ("time-series", {"regularization.temporal_variation": 0.1}),
    "unaligned": ("time-series", {"stack.align": "never"}),
}


@dataclass
class Movie:
    """The truth in photons (T, Y, X), where nothing moves (Y, X), and windows around moving cells."""

    truth: np.ndarray
    still: np.ndarray
    windows: list[np.ndarray]
    background: np.ndarray

    def paths(self, x: np.ndarray) -> np.ndarray:
        """Return the centroid of each moving cell in each frame, (cells, T, 2), above the background."""
        paths = []
        for window in self.windows:
            signal = np.clip(x - self.background, 0, None) * window
            paths.append([ndimage.center_of_mass(frame) for frame in signal])
        return np.array(paths)


def movie(name: str, photons: float, frames: int, seed: int) -> Movie:
    """Return a movie of the cells of a real image, most of which move."""
    rng = np.random.default_rng(seed)
    file, place = IMAGES[name]
    image = imread(DATA / "microscopy" / file)[place].astype(float)
    low, high = np.percentile(image, (1, 99.8))
    # Without its own noise, which would be a pattern that does not move.
    image = ndimage.gaussian_filter(np.clip((image - low) / (high - low), 0, None), 1)
    cells, number = ndimage.label(image > threshold_otsu(image))
    at_border = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    around = ndimage.binary_dilation(cells > 0, iterations=4)
    weight = ndimage.gaussian_filter((~around).astype(float), 8)
    background = ndimage.gaussian_filter(np.where(around, 0, image), 8) / np.maximum(weight, 1e-3)
    still = np.where(around, background, image)
    series, windows = np.repeat(still[None], frames, axis=0), []
    every = np.arange(frames)
    alpha = ndimage.gaussian_filter(around.astype(float), 1)
    owner = ndimage.distance_transform_edt(cells == 0, return_indices=True, return_distances=False)
    owner = cells[tuple(owner)]
    size = np.bincount(cells.ravel(), minlength=number + 1)
    for cell in range(1, number + 1):
        signal = (image - still) * alpha * (owner == cell)
        moves = size[cell] > 30 and cell not in at_border and rng.random() < 0.8
        speed, turn = rng.normal(0, 0.3, 2), rng.uniform(0, 2 * np.pi)
        wobble = 1.5 * np.stack([np.sin(every * 0.6 + turn), np.cos(every * 0.45 + turn)], axis=1)
        path = (speed * (every[:, None] - frames / 2) + wobble) * moves
        moved = np.array([ndimage.shift(signal, step, order=3, mode="constant") for step in path])
        series += moved
        if moves:
            region = np.array([ndimage.shift(1.0 * (owner == cell) * around, p, order=0) for p in path])
            windows.append(region > 0.5)
    alone = [
        window
        for window in windows
        if window.any(axis=(1, 2)).all()
        and not any((window & other).any() for other in windows if other is not window)
    ]
    series = np.clip(series, 0, None) * photons + 2
    stays = np.ptp(series, axis=0) < 1e-3 * photons
    return Movie(series, stays, alone, photons * background + 2)


def drifting(one: Movie, pixels: float, seed: int) -> Movie:
    """Return the center of the movie with a stage that drifts by `pixels` in total, and jitters."""
    rng = np.random.default_rng(seed + 2)
    along = np.linspace(-0.5, 0.5, len(one.truth))[:, None] * (pixels, -0.6 * pixels)
    edge = int(np.ceil(0.5 * pixels)) + 3
    middle = (slice(edge, -edge), slice(edge, -edge))
    path = along + rng.normal(0, 0.7, along.shape)
    moved = [ndimage.shift(x, p, order=3)[middle] for x, p in zip(one.truth, path, strict=True)]
    return Movie(np.clip(moved, 0, None), np.zeros(moved[0].shape, bool), [], one.background[middle])


def with_missing(noisy: np.ndarray, task: str, seed: int) -> np.ndarray:
    """Return the movie with NaN at dead pixels, or at a scratch that moves across it."""
    rng = np.random.default_rng(seed + 1)
    broken = noisy.astype(float)
    if task == "dead":
        broken[:, rng.random(noisy.shape[1:]) < 0.1] = np.nan
    if task == "scratch":
        y, x = np.mgrid[: noisy.shape[1], : noisy.shape[2]]
        for t, frame in enumerate(broken):
            frame[np.abs((x + 0.3 * y - 7 * t) % 64 - 32) < 3] = np.nan
    return broken


def restored(method: str, noisy: np.ndarray, overrides: dict):
    """Return the result, and the seconds that it took."""
    preset, changes = METHODS.get(method, (method, {}))
    preset, _, quality = preset.partition("@")
    recipe = (
        Recipe.preset(preset).with_quality(quality or "balanced").with_settings({**changes, **overrides})
    )
    started = time.monotonic()
    result = restore(Observation.from_array(noisy, axes="TYX"), recipe)
    return result, time.monotonic() - started


def simulated(args) -> None:
    """Print the table of the simulated movies."""
    overrides = {"noise.kind": "poisson", "noise.gain": 1.0, **args.set}
    header("movie", "method", "PSNR", "flicker", "path error [px]", "seconds", "selected step")
    for name in args.images:
        one = movie(name, args.photons, args.frames, args.seed)
        if args.drift:
            one = drifting(one, args.drift, args.seed)
        noisy = np.random.default_rng(args.seed).poisson(one.truth).astype(float)
        data, span = with_missing(noisy, args.task, args.seed), np.ptp(one.truth)
        true = one.paths(one.truth)

        def scores(x, span=span, one=one, true=true):
            if args.drift:  # everything moves, and cells leave their windows
                return f"{psnr(one.truth, x, span):.2f}", "-", "-"
            path = np.sqrt(np.mean(np.sum((one.paths(x) - true) ** 2, axis=-1)))
            flicker = x.var(axis=0)[one.still].mean()
            return f"{psnr(one.truth, x, span):.2f}", f"{flicker:.3f}", f"{path:.2f}"

        moving = f"{len(one.windows)} cells move, {100 * one.still.mean():.0f} % does not"
        row(f"{name} ({moving})", "noisy", *scores(noisy), "", "")
        panels = [("noisy", noisy[10]), ("truth", one.truth[10])]
        for method in args.methods:
            result, seconds = restored(method, data, overrides)
            row(name, method, *scores(result.image), f"{seconds:.0f}", selected_steps(result))
            panels.append((method, result.image[10]))
        if args.figure:
            figure(f"series_{name}", *panels, limits=(0, np.percentile(one.truth, 99.7)))


def photographs(args) -> None:
    """Print the table of photographs that move diagonally from frame to frame, or stand still."""
    header("photograph", "moves by [px]", "method", "PSNR", "seconds", "selected step")
    for name in args.photographs:
        image = natural(f"{name}.png")
        image = image.mean(axis=-1) if image.ndim == 3 else image
        for step in args.moves:
            reach = step * (args.frames - 1)
            wide = center(image, PHOTOGRAPH_PX + reach)
            places = range(0, reach + 1, step) if step else [0] * args.frames
            truth = np.array([wide[at:, at:][:PHOTOGRAPH_PX, :PHOTOGRAPH_PX] for at in places])
            noisy = truth + np.random.default_rng(args.seed).normal(0, args.sigma, truth.shape)
            for method in args.methods:
                result, seconds = restored(method, noisy, args.set)
                score = f"{psnr(truth, result.image):.2f}"
                row(name, step, method, score, f"{seconds:.0f}", selected_steps(result))


def real(args) -> None:
    """Print the table of the real movie: odd frames are restored, and compared with the even ones."""
    frames = imread(DATA / "microscopy" / REAL).astype(float)[: 2 * args.frames + 1]
    given, kept = frames[::2], frames[1::2]
    header("method", "r.m.s. difference from the frames between", "seconds", "selected step")

    def score(x):
        return f"{np.sqrt(np.mean(((x[:-1] + x[1:]) / 2 - kept) ** 2)):.2f}"

    row("noisy", score(given), "", "")
    for method in args.methods:
        result, seconds = restored(method, given, args.set)
        row(method, score(result.image), f"{seconds:.0f}", selected_steps(result))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=["dsb", "dsb-2"])
    parser.add_argument("--methods", nargs="+", default=["denoise", "time-series", *METHODS])
    parser.add_argument("--photons", type=float, default=20)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--task", choices=["denoise", "dead", "scratch"], default="denoise")
    parser.add_argument("--drift", type=float, default=0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--photographs", nargs="+", default=[])
    parser.add_argument("--moves", type=int, nargs="+", default=[1])
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", type=json.loads, default={})
    parser.add_argument("--figure", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(conditions(args.threads), f"; {args.photons} photons, seed {args.seed}, {args.task}\n")
    (real if args.real else photographs if args.photographs else simulated)(args)


if __name__ == "__main__":
    main()
