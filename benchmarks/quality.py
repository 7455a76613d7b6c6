"""Denoising beside BM3D and the original: prints a table for each noise, with truth only scoring.

Run as ``python benchmarks/quality.py [--noises gaussian-25 ...] [--images F16 ...] [--side 128]
[--seeds 1] [--peers] [--reference 1500] [--threads 1]``. *Denoise* runs with its default settings and
stops by itself; Gaussian noise it estimates, of photon noise it is told the gain and read noise, as
a header would. With ``--peers`` BM3D runs on the same pixels, told the true sigma (photon noise
through the generalised Anscombe transform and its exact unbiased inverse); that needs the package
bm3d, which is free for non-commercial use only and no part of napari-dip. With ``--reference`` the
original's published configuration runs too, scored at its best iteration by truth.

The settings were chosen on coffee, chelsea, moon, coins and star fields of other seeds.
"""

import argparse
from statistics import mean, stdev

import numpy as np
from astropy.io import fits

import reference
from common import DATA, centre, conditions, curve, header, natural, psnr, row
from napari_dip import Observation, Recipe
from napari_dip.datasets._star_field import _scene

IMAGES = ("F16", "barbara", "camera", "astronaut", "coffee", "chelsea", "sky-21", "sky-22", "hst")
NOISES = (
    "gaussian-15", "gaussian-25", "gaussian-50", "poisson-4", "poisson-30", "poisson-100", "ccd-30",
)  # fmt: skip
READ_NOISE = 3.0  # electrons, of "ccd"


def truth_of(name: str, side: int) -> np.ndarray:
    """(Y, X) or (Y, X, C) from 0 to 255; star fields have a sky of 25 and saturate at 2550.

    *hst* is a real frame, a galaxy of COSMOS, as if it were the truth: its own noise is 1.2.
    """
    if name == "hst":
        frame = fits.getdata(DATA / "astronomy" / "cosmos_hst_f814w_250.fits").astype(float)
        return np.maximum(25 + 1.5 * centre(frame, side), 0)
    if name.startswith("sky"):
        scene = _scene(np.random.default_rng(int(name[4:])), side, side // 3)
        return np.minimum(scene / 4, 2550)
    return centre(natural({"F16": "F16_GT"}.get(name, name) + ".png"), side)


def noisy_of(truth: np.ndarray, noise: str, seed: int):
    """The truth in the detector's units, the data, the recipe's settings, and the unit of 255."""
    kind, strength = noise.split("-")
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        return truth, truth + rng.normal(0, float(strength), truth.shape), {}, 255.0
    peak = float(strength)
    light = truth / 255 * peak
    settings = {"noise.kind": "poisson", "noise.gain": 1.0}
    data = rng.poisson(light).astype(float)
    if kind == "ccd":
        settings |= {"noise.kind": "poisson-gaussian", "noise.read_noise": READ_NOISE}
        data += rng.normal(0, READ_NOISE, truth.shape)
    return light, data, settings, peak


def bm3d_of(data: np.ndarray, noise: str) -> np.ndarray:
    """BM3D with the true noise; photon noise through the generalised Anscombe transform.

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
    steady = 2 * np.sqrt(np.maximum(data + 3 / 8 + read**2, 0))
    low, high = steady.min(), steady.max()
    smooth = run((steady - low) / (high - low), 1 / (high - low)) * (high - low) + low
    smooth = np.maximum(smooth, 2 * np.sqrt(3 / 8 + read**2))
    series = smooth**2 / 4 + np.sqrt(1.5) / 4 / smooth - 11 / 8 / smooth**2
    return np.maximum(series + 5 / 8 * np.sqrt(1.5) / smooth**3 - 1 / 8 - read**2, 0)


def oracle_of(data: np.ndarray, light: np.ndarray, span: float, steps: int) -> float:
    """The reference's best running average; its output ends at 1, which is the brightest light."""
    unit = max(span, light.max())
    planes = [np.moveaxis(a, -1, 0) if a.ndim == 3 else a[None] for a in (data, light)]
    given, truth = (plane / unit for plane in planes)
    found = reference.oracle(given, lambda x: x, truth, reference.DENOISE, steps=steps)
    return found["average"] + 20 * np.log10(span / unit)


def table(noise: str, asked) -> None:
    """One noise on all images."""
    print(f"\n## {noise}\n", flush=True)
    header(
        "image", "given", "BM3D", "reference, oracle", "ours, stopped", "sd over seeds", "at step",
        "gap to own best", "s",
    )  # fmt: skip
    gains, above, gaps = [], [], []
    for name in asked.images:
        truth = truth_of(name, asked.side)
        scores, left, peers, bars = [], [], [], []
        for seed in range(asked.seeds):
            light, data, settings, span = noisy_of(truth, noise, seed)
            axes = "YXC" if data.ndim == 3 else "YX"
            recipe = Recipe.preset(asked.preset).with_settings({**settings, "seed": seed})
            result, gap = curve(recipe, Observation.from_array(data, axes=axes), light, span=span)
            scores.append(psnr(light, result.image, span))
            left.append(gap)
            if asked.peers:
                peers.append(psnr(light, bm3d_of(data, noise), span))
            if asked.reference:
                bars.append(oracle_of(data, light, span, asked.reference))
        gaps += left
        gains += [mean(scores) - mean(peers)] if peers else []
        above += [mean(scores) - mean(bars)] if bars else []
        row(
            name, f"{psnr(light, data, span):.2f}", f"{mean(peers):.2f}" if peers else "-",
            f"{mean(bars):.2f}" if bars else "-", f"{mean(scores):.2f}",
            f"{stdev(scores):.2f}" if len(scores) > 1 else "-", result.history[0].chosen,
            f"{mean(left):.2f}", f"{result.provenance['seconds']:.0f}",
        )  # fmt: skip
    print(f"\ngap of the stop to the own best: mean {mean(gaps):.2f}, largest {max(gaps):.2f} dB")
    for label, found in (("BM3D", gains), ("the reference's oracle", above)):
        if found:
            print(f"above {label}: mean {mean(found):+.2f}, least {min(found):+.2f} dB")


def main() -> None:
    """Run what was asked for."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=NOISES)
    parser.add_argument("--images", nargs="*", choices=IMAGES, default=IMAGES)
    parser.add_argument("--preset", default="denoise")
    parser.add_argument("--side", type=int, default=128, help="of the crops, in pixels")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--reference", type=int, default=0, help="run it for so many steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{conditions(asked.threads)}; crops of {asked.side} px; PSNR in dB")
    for noise in asked.noises:
        table(noise, asked)


if __name__ == "__main__":
    main()
