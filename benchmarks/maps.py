"""Parameter maps of a simulated head: pixels alone, images denoised first, and the prior.

Run as ``python benchmarks/maps.py [--maps t2 t1 adc] [--seeds 1] [--side 128] [--kspace 1 4]
[--intervals] [--threads 1]``. The images have Rician noise of 0.02 (S/N 20 or so), which is estimated.
Rivals: pixels alone; the images denoised one by one, or together as a series, by our own prior, then
fitted; MP-PCA, then fitted; and total variation of the logarithm of the map, with the weight that the
truth chooses. Errors are relative to the true map, r.m.s. over all pixels that consist of one tissue,
with the median of the error in white matter as its bias. With ``--kspace`` T2 is mapped from k-space of
eight coils instead, of which every echo has its own lines: by the prior, and, where all lines were
measured, pixel by pixel. Its noise is 0.02 in the real and imaginary parts. With ``--intervals`` maps of
quality *best* (from k-space, too) are compared with those of the images without noise: the shares of
pixels that are within one and two standard deviations, of all with signal and of those of one tissue.
"""

import argparse
import itertools
import time
import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common import conditions, header, row
from napari_dip import Recipe, fit_maps, restore
from napari_dip.core.torch_import import torch
from napari_dip.datasets import TISSUES, quantitative_head
from napari_dip.datasets._kspace import random_lines, sensitivities, to_image, to_kspace
from napari_dip.physics.noise.rician import signal_of_magnitude
from napari_dip.physics.signals.adc import Diffusion
from napari_dip.physics.signals.t1_flip_angle import FlipAngles
from napari_dip.physics.signals.t2 import EchoDecay

MAPS = {  # the equation, and the signal of unit proton density
    "t2": (EchoDecay(echo_times=tuple(0.012 * n for n in range(1, 9))), 1),
    "t1": (FlipAngles(flip_angles=(2, 4, 11, 13, 15), repetition_time=0.0068), 10),
    "adc": (Diffusion(b_values=(0, 200, 400, 800)), 1),
}
WAYS = ("pixels alone", "denoised alone", "denoised together", "MP-PCA", "total variation", "prior")
NOISE = 0.02  # in the real and imaginary parts
WEIGHTS = (2, 4, 6, 8, 11, 16, 22)


def main() -> None:
    """Print a row for each map and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", nargs="+", default=list(MAPS), choices=MAPS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--kspace", nargs="*", type=float, help="accelerations")
    parser.add_argument("--intervals", action="store_true", help="how often they have the truth")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    print(conditions(args.threads), flush=True)
    if args.intervals:
        header("map", "seed", "error", "head, 1 std", "2 std", "tissues, 1 std", "2 std", "s")
        ways = [("t2", a) for a in args.kspace] if args.kspace else [(name, None) for name in args.maps]
        for (name, acceleration), seed in itertools.product(ways, args.seeds):
            intervals(name, seed, args.side, acceleration)
        return
    if args.kspace:
        header("acceleration", "seed", "method", "error", "bias", "8-pixel lesion", "s")
        for seed, acceleration in itertools.product(args.seeds, args.kspace):
            from_kspace(seed, args.side, acceleration)
        return
    header("map", "seed", *WAYS, "bias", "8-pixel lesion", "s")
    for name in args.maps:
        for seed in args.seeds:
            equation, amplitude = MAPS[name]
            head = quantitative_head(equation, seed, side=args.side, amplitude=amplitude)
            start = time.perf_counter()
            prior = fit_maps(head.images, equation)
            seconds = time.perf_counter() - start
            found = [*rivals(head, equation), prior.maps[equation.parameter.name]]
            errors = [relative_error(values, head) for values in found]
            rms = [f"{100 * np.sqrt(np.mean(error[head.tissue > 0] ** 2)):.2f} %" for error in errors]
            row(name, seed, *rms, *scores(errors[-1], head)[1:], f"{seconds:.0f}")


def intervals(name, seed, side, acceleration=None):
    """Print a row."""
    equation, amplitude = MAPS[name]
    head = quantitative_head(equation, seed, side=side, amplitude=amplitude)
    images, coils = head.images, None
    if acceleration:
        images, coils = measure_kspace(head.truth, seed, acceleration)
    start = time.perf_counter()
    found = fit_maps(images, equation, coil_maps=coils, quality="best")
    seconds = time.perf_counter() - start
    exact = fit_maps(head.truth, equation, method="pixelwise", sigma=found.sigma)
    parameter = equation.parameter.name
    with np.errstate(invalid="ignore"):
        ratio = np.abs(found.maps[parameter] - exact.maps[parameter]) / found.uncertainty[parameter]
    has_signal = np.isfinite(ratio) & (head.truth.max(axis=0) > 3 * found.sigma)
    tissues = has_signal & (head.tissue > 0)
    shares = [f"{np.mean(ratio[part] <= k):.1%}" for part in (has_signal, tissues) for k in (1, 2)]
    error = relative_error(found.maps[parameter], head)
    label = f"{name}, k-space, R = {acceleration:g}" if acceleration else name
    row(label, seed, scores(error, head)[0], *shares, f"{seconds:.0f}")


def measure_kspace(truth, seed, acceleration, noise=NOISE):
    """Return the k-space (T, coils, Y, X) of images with a smooth phase, and the maps of its coils."""
    side = truth.shape[-1]
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    coils = sensitivities(y, x, 8).astype(np.complex64)
    whole = to_kspace((truth * np.exp(1j * (0.5 + 2 * y + 4 * x**2)))[:, None] * coils)
    whole = whole + noise * (rng.normal(size=whole.shape) + 1j * rng.normal(size=whole.shape))
    lines = random_lines(len(whole), side, acceleration, 10, rng) if acceleration > 1 else True
    return np.where(np.broadcast_to(lines, whole[:, 0, :, 0].shape)[:, None, :, None], whole, 0), coils


def from_kspace(seed, side, acceleration):
    """Print a row for each method."""
    equation = MAPS["t2"][0]
    head = quantitative_head(equation, seed, side=side, noise=0)
    kspace, coils = measure_kspace(head.truth, seed, acceleration)

    def prior():
        return fit_maps(kspace, equation, coil_maps=coils).maps["T2"]

    def pixels_alone():
        images = (to_image(kspace) * coils.conj()).sum(axis=1)
        signals = (images * np.exp(-1j * np.angle(images.sum(axis=0)))).real.astype(np.float32)
        return fit_maps(signals, equation, method="pixelwise", sigma=NOISE).maps["T2"]

    for way in (prior,) if acceleration > 1 else (prior, pixels_alone):
        start = time.perf_counter()
        error = relative_error(way(), head)
        seconds = time.perf_counter() - start
        row(acceleration, seed, way.__name__.replace("_", " "), *scores(error, head), f"{seconds:.0f}")


def scores(error, head):
    """Return the r.m.s. of relative errors, and their median in white matter and in the lesion."""
    medians = (np.median(error[head.tissue == TISSUES.index(t)]) for t in ("white matter", "lesion"))
    rms = np.sqrt(np.mean(error[head.tissue > 0] ** 2))
    return (f"{100 * rms:.2f} %", *(f"{100 * value:+.2f} %" for value in medians))


def rivals(head, equation):
    """Yield the maps of the other ways, in the order of `WAYS`."""
    name = equation.parameter.name
    alone = fit_maps(head.images, equation, method="pixelwise")
    yield alone.maps[name]
    recipe = Recipe.preset("denoise").with_settings({"noise.kind": "rician"})
    yield map_of(restore(head.images, recipe, axes="TYX").image, equation, alone.sigma)
    recipe = Recipe.preset("time-series").with_settings({"noise.kind": "rician"})
    yield map_of(restore(head.images, recipe, axes="TYX").image, equation, alone.sigma)
    yield map_of(mp_pca(head.images), equation, alone.sigma)
    yield min(
        (total_variation(head.images, equation, alone, weight) for weight in WEIGHTS),
        key=lambda values: np.mean(relative_error(values, head)[head.tissue > 0] ** 2),
    )


def map_of(images, equation, sigma):
    """Return the map of images of which only the mean of the magnitudes is left."""
    signals = (sigma * signal_of_magnitude(images / sigma)).astype(np.float32)
    return fit_maps(signals, equation, method="pixelwise", sigma=sigma).maps[equation.parameter.name]


def mp_pca(images, side=5):
    """Return images (T, Y, X) without the principal components that are noise (Veraart et al., 2016):
    in each window those whose singular values the law of Marchenko and Pastur has.
    """
    number, radius = len(images), side // 2
    padded = np.pad(images.astype(float), ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))
    matrices = windows.reshape(number, *images.shape[1:], side**2).transpose(1, 2, 3, 0)
    mean = matrices.mean(axis=2, keepdims=True)
    u, s, vt = np.linalg.svd(matrices - mean, full_matrices=False)
    values = s**2 / side**2
    kept = np.zeros(values.shape, bool)
    tails = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    for signals in range(number):  # the fewest components without which the rest is as noise is
        left = number - signals
        spread = values[..., signals] - values[..., -1]
        is_noise = tails[..., signals] / left >= spread / (4 * np.sqrt(left / side**2))
        kept[..., signals] = ~is_noise & (kept[..., :signals].all(axis=-1))
    restored = mean + (u * (s * kept)[..., None, :]) @ vt
    return restored[:, :, side**2 // 2].transpose(2, 0, 1).astype(np.float32)


def total_variation(images, equation, alone, weight, steps=400):
    """Return the map whose logarithm has little total variation, from the one of pixels alone."""
    name, _, low, high = equation.parameter
    y = torch.from_numpy(images)
    value = torch.from_numpy(np.clip(alone.maps[name], low, high)).log().requires_grad_()
    adam = torch.optim.Adam([value], lr=0.02)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        basis = equation.basis(value.exp())[:, 0]
        amplitude = (basis * y).sum(dim=0) / basis.square().sum(dim=0)
        misfit = (y - amplitude * basis).square().sum() / (2 * alone.sigma**2)
        down, right = value[1:, :-1] - value[:-1, :-1], value[:-1, 1:] - value[:-1, :-1]
        loss = misfit + weight * (down.square() + right.square() + 1e-6).sqrt().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
    return value.detach().exp().numpy()


def relative_error(values, head) -> np.ndarray:
    """Return the error of a map over its true value, where there is one."""
    return values / np.where(head.value > 0, head.value, np.nan) - 1


if __name__ == "__main__":
    main()
