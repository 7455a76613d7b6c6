"""Denoising of public images, BSD68 and LIVE1, by every method: one line of a CSV file for each.

Run as ``python benchmarks/public.py [--sets BSD68 LIVE1] [--noises gaussian-25 ...] [--methods balanced
bm3d ...] [--every 4] [--side 256] [--csv docs/benchmarks/public.csv] [--threads 1]``. Lines that the
file has are not computed again; ``--tables`` prints the means of all methods on the images that each of
them has. The noise is drawn by ``numpy.random.default_rng(index)`` with the index of the file in sorted
order, and neither clipped nor rounded; with ``--side`` the middle of the image is taken. Nothing of
napari-dip was tuned on these images.

BM3D is given the true sigma (photon noise by the generalized Anscombe transform), non-local means too;
the weight of total variation is the best of eight by the truth, and wavelets (BayesShrink) are averaged
over shifts. BM3D needs the package bm3d, which is free for non-commercial use only. The images are not a
part of napari-dip.
"""

import argparse
import csv
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

import numpy as np
from skimage.io import imread
from skimage.metrics import structural_similarity
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from common import DATA, center, conditions, header, psnr, row
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch
from napari_dip.run.recipe import QUALITIES
from quality import bm3d_of, noisy_of

SETS = {"BSD68": "*.png", "LIVE1": "*.bmp"}
NOISES = ("gaussian-15", "gaussian-25", "gaussian-50", "poisson-30")
PEERS = ("bm3d", "nl-means", "wavelets", "tv")
COLUMNS = ("set", "image", "side", "noise", "method", "psnr", "ssim", "seconds", "assessment", "commit")
TABLE = Path(__file__).parents[1] / "docs" / "benchmarks" / "public.csv"


def restored(method: str, data: np.ndarray, truth: np.ndarray, noise: str, settings: dict):
    """Return the image, and the assessment of a result of napari-dip."""
    channel_axis, sigma = (-1 if data.ndim == 3 else None), float(noise.split("-")[1])
    if method in QUALITIES:
        recipe = Recipe.preset("denoise").with_quality(method).with_settings(settings)
        result = restore(Observation.from_array(data, axes="YXC"[: data.ndim]), recipe)
        return result.image, str(result.assessment)
    if method == "bm3d":
        return bm3d_of(data, noise), ""
    if noise.startswith("poisson"):
        raise SystemExit(f"{method} is only run with Gaussian noise")
    if method == "nl-means":
        kwargs = {"patch_size": 7, "patch_distance": 10, "sigma": sigma, "h": 0.6 * sigma}
        return denoise_nl_means(data, **kwargs, fast_mode=True, channel_axis=channel_axis), ""
    if method == "wavelets":
        kwargs = {"sigma": sigma, "rescale_sigma": True, "channel_axis": channel_axis}
        options = {"func_kw": kwargs, "max_shifts": 4, "num_workers": 1, "channel_axis": channel_axis}
        return cycle_spin(data, func=denoise_wavelet, **options), ""
    images = [
        denoise_tv_chambolle(data, weight=factor * sigma, channel_axis=channel_axis)
        for factor in np.geomspace(0.3, 2.5, 8)
    ]
    return max(images, key=lambda image: psnr(truth, image)), ""


def commit() -> str:
    """Return the commit of this repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def read_lines(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(args) -> None:
    """Compute and append the lines that are missing."""
    done = {tuple(line[name] for name in COLUMNS[:5]) for line in read_lines(args.csv)}
    for name in args.sets:
        files = sorted((DATA / "public" / name).glob(SETS[name]))
        for index in range(0, len(files), args.every if name == "BSD68" else 1):
            truth = imread(files[index]).astype(float)
            truth = center(truth, args.side) if args.side else truth
            for noise in args.noises:
                expected, data, settings, span = noisy_of(truth, noise, index)
                for method in args.methods:
                    key = name, files[index].stem, str(args.side or "full"), noise, method
                    if key in done:
                        continue
                    started = time.process_time()
                    image, assessment = restored(method, data, expected, noise, settings)
                    seconds = time.process_time() - started
                    axis = -1 if truth.ndim == 3 else None
                    ssim = structural_similarity(expected, image, data_range=span, channel_axis=axis)
                    scores = (f"{psnr(expected, image, span):.3f}", f"{ssim:.4f}", f"{seconds:.1f}")
                    append(args.csv, (*key, *scores, assessment, commit()))


def append(path: Path, values: tuple[str, ...]) -> None:
    """Add a line to a CSV file, with the names of the columns if it is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(values)
    print(*values, flush=True)


def tables(path: Path) -> None:
    """Print the mean of each method, on the images that all methods of a table have."""
    groups: dict[tuple[str, str, str], dict[str, dict[str, dict[str, str]]]] = defaultdict(dict)
    for line in read_lines(path):
        group = groups[line["set"], line["side"], line["noise"]]
        group.setdefault(line["method"], {})[line["image"]] = line
    for key, methods in groups.items():
        common = set.intersection(*(set(lines) for lines in methods.values()))
        if not common:
            continue
        print(f"\n## {key[0]}, {key[1]}, {key[2]}: {len(common)} images\n")
        header("method", "PSNR", "SSIM", "seconds", "good")
        for method, lines in methods.items():
            psnrs, ssims, seconds = (
                mean(float(lines[image][name]) for image in common)
                for name in ("psnr", "ssim", "seconds")
            )
            good = [lines[image]["assessment"] == "good" for image in common]
            count = f"{sum(good)} of {len(common)}" if method in QUALITIES else ""
            row(method, f"{psnrs:.2f}", f"{ssims:.3f}", f"{seconds:.1f}", count)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=["gaussian-25"])
    methods = (*QUALITIES, *PEERS)
    parser.add_argument("--methods", nargs="*", choices=methods, default=["balanced", "bm3d"])
    parser.add_argument("--every", type=int, default=4, help="of the files of BSD68")
    parser.add_argument("--side", type=int, default=0, help="of the middle of the image; 0: all of it")
    parser.add_argument("--csv", type=Path, default=TABLE)
    parser.add_argument("--tables", action="store_true", help="print the means, and compute nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.tables:
        tables(args.csv)
        return
    print(conditions(args.threads), flush=True)
    run(args)


if __name__ == "__main__":
    main()
