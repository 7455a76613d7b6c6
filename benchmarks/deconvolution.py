"""Deconvolution to a finite width, beside classical methods that the truth tunes.

Run as ``python benchmarks/deconvolution.py [--scenes stars cell volume] [--noises 5 20] [--seeds 0 1 2]
[--threads 1]``. Prints a row for each run, and saves a figure of each scene, first noise and seed.
The PSF is a known Moffat profile of 4 pixels (beta 3). The truth is the scene, convolved with a Gaussian
of 2 pixels: 60 stars of 10^2.5 to 10^4.8 counts, between pixels, and a galaxy, on a sky of 100; a part
of a micrograph; or nuclei in a volume of 16 planes, whose PSF of 11 planes widens from 4 pixels by 1.5 a
plane, as that of a wide-field microscope (the Gaussian acts in planes). Stars are drawn nine times finer
than the pixels. The input is the same scene, convolved with the PSF, with Gaussian noise.

Richardson-Lucy (up to 640 iterations, 160 of volumes), Wiener, and total variation (proximal gradient
with the proximal step of scikit-image) have the number of iterations, the balance or the weight that the
truth likes best; and the Gaussian of 2 pixels afterwards, where that is better. *Darkest* is how far the
result falls below the truth anywhere around the stars that are brighter than half of the brightest,
within 12 pixels, over their peak; *flux* the median error of stars with S/N above 50 in 7 x 7 pixels of
sky noise, that have no neighbor within 8 pixels.
"""

import argparse

import numpy as np
from astropy.modeling.models import Sersic2D
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from skimage import data
from skimage.restoration import denoise_tv_chambolle, richardson_lucy, wiener

from common import conditions, figure, header, psnr, row, selected_steps
from napari_dip import deconvolve
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._psf import psf_model

SIDE, MARGIN, FINER = 128, 24, 9
PSF, TARGET = psf_model("moffat", 4.0, 3.0), psf_model("gaussian", 2.0)
APERTURE_PX = 7


def stars(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a field of stars at the width of the result, blurred, and (y, x, flux) of its stars."""
    rng = np.random.default_rng(seed)
    places, fluxes = rng.uniform(-6, SIDE + 6, (60, 2)), 10 ** rng.uniform(2.5, 4.8, 60)
    wide = SIDE + 2 * MARGIN
    fine = (np.arange(wide * FINER) + 0.5) / FINER - 0.5 - MARGIN
    y, x = np.mgrid[-MARGIN : SIDE + MARGIN, -MARGIN : SIDE + MARGIN]
    galaxy = Sersic2D(30, 9, 1.2, x_0=60, y_0=70, ellip=0.5, theta=0.7)(x, y)
    images = []
    for kernel, profile in ((TARGET, _gaussian), (PSF, _moffat)):
        image = fftconvolve(galaxy, kernel, mode="same")
        for (row_, column), flux in zip(places, fluxes, strict=True):
            reach = [
                slice(max(round(c) + MARGIN - 22, 0), round(c) + MARGIN + 23) for c in (row_, column)
            ]
            along = [fine[r.start * FINER : min(r.stop, wide) * FINER] for r in reach]
            star = profile((along[0][:, None] - row_) ** 2 + (along[1] - column) ** 2)
            number = [len(a) // FINER for a in along]
            star = star.reshape(number[0], FINER, number[1], FINER).mean(axis=(1, 3))
            image[reach[0], reach[1]] += flux * star
        images.append(100 + image[MARGIN:-MARGIN, MARGIN:-MARGIN])
    return images[0], images[1], np.column_stack((places, fluxes))


def _gaussian(square: np.ndarray) -> np.ndarray:
    sigma = 2.0 / np.sqrt(8 * np.log(2))
    return np.exp(-square / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def _moffat(square: np.ndarray) -> np.ndarray:
    width = 4.0 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    return (1 + square / width**2) ** -3 * 2 / (np.pi * width**2)


def cell(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a part of a micrograph at the width of the result, blurred, and no stars."""
    margin = len(PSF) // 2 + len(TARGET) // 2
    start = 200 - margin
    scene = data.cell()[start : 328 + margin, start : 328 + margin].astype(float)
    planes = []
    for kernel, other in ((TARGET, PSF), (PSF, TARGET)):
        rim = len(other) // 2
        planes.append(fftconvolve(scene, kernel, mode="valid")[rim:-rim, rim:-rim])
    return planes[0], planes[1], np.zeros((0, 3))


def volume(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nuclei in a volume at the width of the result, blurred, and no stars."""
    rng = np.random.default_rng(seed)
    shape = np.array((16, 64, 64)) + 2 * np.array([n // 2 for n in PSF_VOLUME.shape])
    scene = gaussian_filter(rng.normal(0, 1, shape), (1, 2, 2))
    scene *= 60 / scene.std()
    inside = np.zeros(shape)
    index = np.indices(shape)
    for _ in range(24):
        radii = rng.uniform((2, 5, 5), (4, 10, 10))[:, None, None, None]
        center = rng.uniform(0, shape)[:, None, None, None]
        distance = np.sqrt((((index - center) / radii) ** 2).sum(axis=0))
        inside = np.maximum(inside, 1 / (1 + np.exp((distance - 1) * 12)))
    scene = 100 + inside * np.clip(300 + scene, 50, None)
    reach = [n // 2 for n in PSF_VOLUME.shape]
    inner = tuple(slice(r, -r) for r in reach)
    truth = fftconvolve(scene, TARGET[None], mode="same")[inner]
    return truth, fftconvolve(scene, PSF_VOLUME, mode="valid"), np.zeros((0, 3))


def _wide_field() -> np.ndarray:
    planes = [psf_model("gaussian", np.hypot(4.0, 1.5 * z)) for z in range(-5, 6)]
    half = max(len(plane) for plane in planes) // 2
    psf = np.stack([np.pad(plane, half - len(plane) // 2) for plane in planes])
    return psf / psf.sum()


PSF_VOLUME = _wide_field()
SCENES = {"stars": (stars, PSF), "cell": (cell, PSF), "volume": (volume, PSF_VOLUME)}
FIGURES = {"stars": "star_field", "cell": "cell", "volume": "volume"}


def rivals(image: np.ndarray, truth: np.ndarray, psf: np.ndarray) -> dict[str, tuple[float, np.ndarray]]:
    """Return the PSNR and the result of each classical method, at its best setting."""
    low, span = truth.min(), np.ptp(truth)
    halves = [n // 2 for n in psf.shape]
    padded = np.pad((image - low) / span, [(h, h) for h in halves], mode="reflect")
    inside = tuple(slice(h, -h) for h in halves)
    target = TARGET if image.ndim == 2 else TARGET[None]
    rim = [(n, n) for n in target.shape]

    def best(candidates):
        results = []
        for x in candidates:
            smooth = fftconvolve(np.pad(x, rim, mode="reflect"), target, mode="same")
            smooth = smooth[tuple(slice(n, -n) for n, _ in rim)]
            results += [low + span * either[inside] for either in (x, smooth)]
        return max(((psnr(truth, x, span), x) for x in results), key=lambda result: result[0])

    positive = np.clip(padded, 1e-6, None)
    iterations = (2, 3, 5, 10, 20, 40, 80, 160, *((320, 640) if image.ndim == 2 else ()))
    return {
        "Richardson-Lucy": best(richardson_lucy(positive, psf, n, clip=False) for n in iterations),
        "Wiener": best(wiener(padded, psf, b, clip=False) for b in 10 ** np.arange(-5, 1.6, 0.25)),
        "total variation": best(
            total_variation(padded, psf, weight) for weight in 10 ** np.arange(-4.5, 0.1, 0.5)
        ),
    }


def total_variation(
    image: np.ndarray, psf: np.ndarray, weight: float, iterations: int = 100
) -> np.ndarray:
    """Return the image whose squared misfit plus weighted total variation is least, by FISTA."""
    x = ahead = image
    momentum, mirrored = 1.0, psf[(slice(None, None, -1),) * psf.ndim]
    for _ in range(iterations):
        residual = fftconvolve(ahead, psf, mode="same") - image
        step = ahead - fftconvolve(residual, mirrored, mode="same")
        last, x = x, denoise_tv_chambolle(step, weight=weight, max_num_iter=20)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, momentum = x + (momentum - 1) / following * (x - last), following
    return x


def star_errors(x: np.ndarray, truth: np.ndarray, table: np.ndarray, noise: float) -> tuple[str, str]:
    """Return how dark the surroundings of bright stars are, and the median error of fluxes, in %."""
    if not len(table):
        return "-", "-"
    error, peak = x - truth, np.ptp(truth)
    darkest, fluxes = 0.0, []
    half = APERTURE_PX // 2
    for y, x_, flux in table:
        row_, column = round(y), round(x_)
        distance = np.sort(np.hypot(*(table[:, :2] - (y, x_)).T))[1]
        inside = half <= min(row_, column) and max(row_, column) < SIDE - half
        if not inside:
            continue
        height = truth[row_, column] - 100
        if height > peak / 2:
            around = np.s_[max(row_ - 12, 0) : row_ + 13, max(column - 12, 0) : column + 13]
            darkest = max(darkest, -error[around].min() / height)
        if distance > 8 and flux > 50 * noise * APERTURE_PX:
            window = np.s_[row_ - half : row_ + half + 1, column - half : column + half + 1]
            fluxes.append(error[window].sum() / flux)
    return f"{100 * darkest:.1f} %", f"{100 * np.median(fluxes):+.2f} %"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--noises", nargs="+", type=float, default=[5.0, 20.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{conditions(args.threads)}; PSNR in dB\n")
    header(
        "scene", "noise", "seed", "input", "Richardson-Lucy", "Wiener", "total variation", "napari-dip",
        "first fit at step", "assessment", "darkest", "flux",
    )  # fmt: skip
    for name in args.scenes:
        for noise in args.noises:
            for seed in args.seeds:
                scene, psf = SCENES[name]
                truth, blurred, table = scene(seed)
                image = blurred + np.random.default_rng(seed + 100).normal(0, noise, truth.shape)
                span = np.ptp(truth)
                classical = rivals(image, truth, psf)
                axes = "ZYX"[-image.ndim :]
                result = deconvolve(image, psf, axes=axes, full_output=True)
                row(
                    name, f"{noise:g}", seed, f"{psnr(truth, image, span):.2f}",
                    *(f"{value:.2f}" for value, _ in classical.values()),
                    f"{psnr(truth, result.image, span):.2f}", selected_steps(result),
                    result.assessment.level, *star_errors(result.image, truth, table, noise),
                )  # fmt: skip
                if (noise, seed) == (args.noises[0], args.seeds[0]):
                    middle = np.s_[:] if truth.ndim == 2 else len(truth) // 2
                    best = max(classical, key=lambda method: classical[method][0])
                    figure(
                        f"deconvolve_{FIGURES[name]}", ("blurred", image[middle]),
                        (f"{best}, tuned by truth", classical[best][1][middle]),
                        ("deep image prior", result.image[middle]), ("truth", truth[middle]),
                        limits=tuple(np.percentile(truth[middle], (1, 99.5))),
                    )  # fmt: skip


if __name__ == "__main__":
    main()
