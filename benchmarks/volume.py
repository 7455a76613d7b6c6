"""Volumes: one network in three dimensions against one for each slice, and BM4D.

Run as ``python benchmarks/volume.py [--channels 1] [--ways denoise volume] [--noise 25] [--peers]
[--seed 0] [--threads 1]``. The truth is a real stack of cells, smoothed to take its own grain away, from
0 to 255 between its darkest and its brightest; channel 0 served for tuning. PSNR is of the whole
volume. ``--peers`` needs bm4d, which is free for non-commercial use only and no part of napari-dip.
"""

import argparse
import json
import time

import numpy as np
from scipy.ndimage import gaussian_filter
from tifffile import imread

from common import DATA, conditions, header, psnr, row, taken
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch


def cells(channel: int) -> np.ndarray:
    """The truth, (Z, Y, X)."""
    stack = imread(DATA / "microscopy" / "cells3d2ch.tiff")[channel].astype(float)
    smooth = gaussian_filter(stack, 0.7)
    low, high = smooth.min(), smooth.max()
    return 255 * (smooth - low) / (high - low)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[1])
    parser.add_argument("--ways", nargs="+", default=["denoise", "volume"])
    parser.add_argument("--noise", type=float, default=25)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--set", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(conditions(asked.threads), f"; noise {asked.noise}, seed {asked.seed}\n")
    header("channel", "way", "PSNR", "seconds", "steps")
    for channel in asked.channels:
        truth = cells(channel)
        noisy = truth + np.random.default_rng(asked.seed).normal(0, asked.noise, truth.shape)
        row(channel, "noisy", f"{psnr(truth, noisy):.2f}", "", "")
        if asked.peers:
            from bm4d import bm4d

            begun = time.monotonic()
            x = bm4d(noisy, asked.noise)
            row(channel, "BM4D", f"{psnr(truth, x):.2f}", f"{time.monotonic() - begun:.0f}", "")
        for way in asked.ways:
            begun = time.monotonic()
            recipe = Recipe.preset(way).with_settings(asked.set)
            result = restore(Observation.from_array(noisy, axes="ZYX"), recipe)
            steps = taken(result) if len(result.history) == 1 else f"{result.steps} in all"
            seconds = f"{time.monotonic() - begun:.0f}"
            row(channel, way, f"{psnr(truth, result.image):.2f}", seconds, steps)


if __name__ == "__main__":
    main()
