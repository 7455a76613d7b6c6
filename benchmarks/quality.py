"""Denoising compared with BM3D and the original method: prints a table for each noise.

Run as ``python benchmarks/quality.py [--noises gaussian-25 ...] [--images F16 ...] [--side 128] [--seeds
1] [--quality balanced] [--peers] [--reference 1500] [--threads 1]``. *Denoise* runs with its default
settings and stops automatically. It estimates Gaussian noise; for photon noise it is given the gain and
the read noise, as by a header. The truth is used only for scores. With ``--peers`` BM3D runs on the same
pixels with the true sigma (photon noise by the generalized Anscombe transform and its exact unbiased
inverse); that needs the package bm3d, which is free for non-commercial use only and not a part of
napari-dip. With
``--reference`` the published configuration of the original method runs, too, and is scored at its best
step by ground truth.

The settings were chosen on coffee, chelsea, moon, coins and star fields of other seeds.
"""

import argparse
from statistics import mean, stdev

import numpy as np
from astropy.io import fits

import reference
from common import DATA, center, conditions, curve, header, natural, psnr, row
from napari_dip import Observation, Recipe
from napari_dip.datasets._star_field import _scene
from napari_dip.run.recipe import QUALITIES

IMAGES = ("F16", "barbara", "camera", "astronaut", "coffee", "chelsea", "sky-21", "sky-22", "hst")
NOISES = (
    "gaussian-15", "gaussian-25", "gaussian-50", "poisson-4", "poisson-30", "poisson-100", "ccd-30",
)  # fmt: skip
READ_NOISE = 3.0  # electrons, for "ccd"


def truth_of(name: str, side: int) -> np.ndarray:
    """Return an image (Y, X) or (Y, X, C) from 0 to 255; star fields have a sky of 25 and a maximum of
    2550.

    *hst* is a real image of a galaxy in COSMOS, taken as the truth: its own noise is 1.2.
    """
    if name == "hst":
        frame = fits.getdata(DATA / "astronomy" / "cosmos_hst_f814w_250.fits").astype(float)
        return np.maximum(25 + 1.5 * center(frame, side), 0)
    if name.startswith("sky"):
        scene = _scene(np.random.default_rng(int(name[4:])), side, side // 3)
        return np.minimum(scene / 4, 2550)
    return center(natural({"F16": "F16_GT"}.get(name, name) + ".png"), side)


def noisy_of(truth: np.ndarray, noise: str, seed: int):
    """Return the truth in units of the detector, the data, the settings, and the value of 255."""
    kind, strength = noise.split("-")
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        return truth, truth + rng.normal(0, float(strength), truth.shape), {}, 255.0
    peak = float(strength)
    expected = truth / 255 * peak
    settings = {"noise.kind": "poisson", "noise.gain": 1.0}
    data = rng.poisson(expected).astype(float)
    if kind == "ccd":
        settings |= {"noise.kind": "poisson-gaussian", "noise.read_noise": READ_NOISE}
        data += rng.normal(0, READ_NOISE, truth.shape)
    return expected, data, settings, peak


def bm3d_of(data: np.ndarray, noise: str) -> np.ndarray:
    """Run BM3D with the true noise; photon noise by the generalized Anscombe transform.

    References
    ----------
    .. [1] Makitalo, Foi, "Optimal inversion of the generalized Anscombe transformation for
           Poisson-Gaussian noise", IEEE Trans. Image Process. 22 (2013) 91, eq. (2), (10).
    """
    from bm3d import bm3d, bm3d_rgb

    run = bm3d_rgb if data.ndim == 3 else bm3d
    kind, strength = noise.split("-")
    if kind == "gaussian":
        return run(data / 255, float(strength) / 255) * 255
    read = READ_NOISE if kind == "ccd" else 0.0
    stabilized = 2 * np.sqrt(np.maximum(data + 3 / 8 + read**2, 0))
    low, high = stabilized.min(), stabilized.max()
    smooth = run((stabilized - low) / (high - low), 1 / (high - low)) * (high - low) + low
    smooth = np.maximum(smooth, 2 * np.sqrt(3 / 8 + read**2))
    series = smooth**2 / 4 + np.sqrt(1.5) / 4 / smooth - 11 / 8 / smooth**2
    return np.maximum(series + 5 / 8 * np.sqrt(1.5) / smooth**3 - 1 / 8 - read**2, 0)


def oracle_of(data: np.ndarray, truth: np.ndarray, span: float, steps: int) -> float:
    """Return the best PSNR of the reference's running average; its output is at most 1, the maximum."""
    unit = max(span, truth.max())
    planes = [np.moveaxis(a, -1, 0) if a.ndim == 3 else a[None] for a in (data, truth)]
    given, scaled_truth = (plane / unit for plane in planes)
    best = reference.oracle(given, lambda x: x, scaled_truth, reference.DENOISE, steps=steps)
    return best["average"] + 20 * np.log10(span / unit)


def table(noise: str, args) -> None:
    """Print the table of one noise on all images."""
    print(f"\n## {noise}\n", flush=True)
    header(
        "image", "noisy", "BM3D", "original, best step", "napari-dip", "sd over seeds",
        "selected step", "below its best step", "s", "assessment",
    )  # fmt: skip
    gains, above, gaps = [], [], []
    for name in args.images:
        truth = truth_of(name, args.side)
        scores, losses, peers, references = [], [], [], []
        for seed in range(args.seeds):
            expected, data, settings, span = noisy_of(truth, noise, seed)
            axes = "YXC" if data.ndim == 3 else "YX"
            recipe = Recipe.preset(args.preset).with_quality(args.quality)
            recipe = recipe.with_settings({**settings, "seed": seed})
            result, gap = curve(recipe, Observation.from_array(data, axes=axes), expected, span=span)
            scores.append(psnr(expected, result.image, span))
            losses.append(gap)
            if args.peers:
                peers.append(psnr(expected, bm3d_of(data, noise), span))
            if args.reference:
                references.append(oracle_of(data, expected, span, args.reference))
        gaps += losses
        gains += [mean(scores) - mean(peers)] if peers else []
        above += [mean(scores) - mean(references)] if references else []
        row(
            name, f"{psnr(expected, data, span):.2f}", f"{mean(peers):.2f}" if peers else "-",
            f"{mean(references):.2f}" if references else "-", f"{mean(scores):.2f}",
            f"{stdev(scores):.2f}" if len(scores) > 1 else "-", result.history[0].selected_step,
            f"{mean(losses):.2f}", f"{result.provenance.seconds:.0f}", result.assessment,
        )  # fmt: skip
    print(f"\nbelow its own best step: mean {mean(gaps):.2f}, at most {max(gaps):.2f} dB")
    for label, values in (("BM3D", gains), ("the best step of the original", above)):
        if values:
            print(f"above {label}: mean {mean(values):+.2f}, at least {min(values):+.2f} dB")


def main() -> None:
    """Print the tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=NOISES)
    parser.add_argument("--images", nargs="*", choices=IMAGES, default=IMAGES)
    parser.add_argument("--preset", default="denoise")
    parser.add_argument("--quality", choices=QUALITIES, default="balanced")
    parser.add_argument("--side", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--reference", type=int, default=0, help="number of its steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{conditions(args.threads)}; images of {args.side} px; PSNR in dB")
    for noise in args.noises:
        table(noise, args)


if __name__ == "__main__":
    main()
