"""Volumes: one network in three dimensions compared with one for each slice, and with BM4D.

Run as ``python benchmarks/volume.py [--channels 1] [--methods denoise volume] [--noise 25] [--peers]
[--seed 0] [--threads 1]``. The truth is a real stack of cells, smoothed to remove its own noise, and
scaled from 0 to 255; channel 0 served for tuning. The PSNR is that of the whole volume. ``--peers``
needs bm4d, which is free for non-commercial use only and not a part of napari-dip.
"""

import argparse
import json
import time

import numpy as np
from scipy.ndimage import gaussian_filter
from tifffile import imread

from common import DATA, conditions, header, psnr, row, selected_steps
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch


def cells(channel: int) -> np.ndarray:
    """Return the truth, (Z, Y, X)."""
    stack = imread(DATA / "microscopy" / "cells3d2ch.tiff")[channel].astype(float)
    smooth = gaussian_filter(stack, 0.7)
    low, high = smooth.min(), smooth.max()
    return 255 * (smooth - low) / (high - low)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[1])
    parser.add_argument("--methods", nargs="+", default=["denoise", "volume"])
    parser.add_argument("--noise", type=float, default=25)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--set", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(conditions(args.threads), f"; noise {args.noise}, seed {args.seed}\n")
    header("channel", "method", "PSNR", "seconds", "steps")
    for channel in args.channels:
        truth = cells(channel)
        noisy = truth + np.random.default_rng(args.seed).normal(0, args.noise, truth.shape)
        row(channel, "noisy", f"{psnr(truth, noisy):.2f}", "", "")
        if args.peers:
            from bm4d import bm4d

            started = time.monotonic()
            x = bm4d(noisy, args.noise)
            row(channel, "BM4D", f"{psnr(truth, x):.2f}", f"{time.monotonic() - started:.0f}", "")
        for method in args.methods:
            started = time.monotonic()
            recipe = Recipe.preset(method).with_settings(args.set)
            result = restore(Observation.from_array(noisy, axes="ZYX"), recipe)
            steps = selected_steps(result) if len(result.history) == 1 else f"{result.steps} in total"
            seconds = f"{time.monotonic() - started:.0f}"
            row(channel, method, f"{psnr(truth, result.image):.2f}", seconds, steps)


if __name__ == "__main__":
    main()
