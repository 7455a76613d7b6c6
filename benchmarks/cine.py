"""Dynamic MRI: a simulated cardiac cine, reconstructed by napari-dip and by classical methods.

Run as ``python benchmarks/cine.py [--beats 10 10] [--acceleration 12] [--coils 8] [--side 96]
[--breathing 0] [--seeds 0] [--methods zero-filled sense wavelet kt ls dynamic-mri] [--figure NAME]
[--threads 1]``. ``--breathing`` is how far the heart moves with each breath, in pixels. The PSNR is that
of magnitudes, scaled by one factor for all frames, for the whole image and for the heart. The area error
is the r.m.s. error of the blood area in the left ventricle over time, relative to its mean. Classical
methods use the weights that were best, by ground truth, for another heart (seed 100; other texture,
sampling and noise). All methods are given the coil maps. With ``--real`` some samples of a real slice
are held out and predicted from the others: the error is r.m.s., scaled by one factor, relative to the
held-out samples, and includes their noise.
"""

import argparse
import itertools
import time
from functools import cache

import numpy as np
import pywt

from common import DATA, animation, conditions, figure, header, row, selected_steps
from napari_dip import Observation, Recipe, restore
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.datasets._cardiac_cine import (
    BLOOD,
    WALL,
    CardiacCine,
    cardiac_cine,
    to_image,
    to_kspace,
)
from napari_dip.physics.operators.sense import Sense

ITERATIONS = 80
WEIGHTS = np.geomspace(1e-4, 0.1, 7)
OURS = {  # besides the presets: presets with other settings
    "time-dependent": ("dynamic-mri", {"network.kind": "time-dependent", "network.channels": 64}),
    "hourglass": ("dynamic-mri", {"network.kind": "hourglass", "network.channels": 64}),
}


class Measurement:
    """The k-space of a cine, and the operator A with its adjoint."""

    def __init__(self, maps: np.ndarray, y: np.ndarray) -> None:
        self.maps, self.y, self.sampled = maps, y, y != 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the k-space (T, coils, Y, X) of a series (T, Y, X)."""
        return self.sampled * to_kspace(x[:, None] * self.maps)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        """Return the adjoint."""
        return (to_image(self.sampled * y) * self.maps.conj()).sum(axis=1)

    def step(self, x: np.ndarray) -> np.ndarray:
        """Return `x` after a gradient step on the squared error; A has a norm of 1."""
        return x + self.adjoint(self.y - self.forward(x))


def zero_filled(data: Measurement) -> np.ndarray:
    """Return A^H y."""
    return data.adjoint(data.y)


def sense(data: Measurement, iterations: int = 12) -> np.ndarray:
    """Solve least squares frame by frame by conjugate gradients, stopped early."""
    x = np.zeros_like(rest := data.adjoint(data.y))
    direction, power = rest, np.vdot(rest, rest).real
    for _ in range(iterations):
        image = data.adjoint(data.forward(direction))
        length = power / np.vdot(direction, image).real
        x, rest = x + length * direction, rest - length * image
        power, before = np.vdot(rest, rest).real, power
        direction = rest + power / before * direction
    return x


def soft(values: np.ndarray, threshold: float) -> np.ndarray:
    """Threshold complex values softly."""
    size = np.abs(values)
    return values * np.maximum(1 - threshold / np.maximum(size, 1e-12), 0)


def fista(data: Measurement, shrink) -> np.ndarray:
    """Run the proximal gradient method with momentum (Beck, Teboulle 2009)."""
    x = ahead = zero_filled(data)
    momentum = 1.0
    for _ in range(ITERATIONS):
        before, x = x, shrink(data.step(ahead))
        momentum, last = (1 + np.sqrt(1 + 4 * momentum**2)) / 2, momentum
        ahead = x + (last - 1) / momentum * (x - before)
    return x


def wavelet(data: Measurement, weight: float) -> np.ndarray:
    """Run compressed sensing frame by frame, sparse in wavelets (Lustig et al. 2007)."""

    def shrink(x: np.ndarray) -> np.ndarray:
        first, *details = pywt.wavedec2(x, "db2", "periodization", level=3, axes=(1, 2))
        kept = [tuple(soft(band, weight) for band in scale) for scale in details]
        return pywt.waverec2([first, *kept], "db2", "periodization", axes=(1, 2))

    return fista(data, shrink)


def threshold_temporal_spectrum(x: np.ndarray, weight: float) -> np.ndarray:
    """Threshold the temporal spectrum softly, except for the mean."""
    spectrum = np.fft.fft(x, axis=0, norm="ortho")
    spectrum[1:] = soft(spectrum[1:], weight)
    return np.fft.ifft(spectrum, axis=0, norm="ortho")


def kt(data: Measurement, weight: float) -> np.ndarray:
    """Run compressed sensing, sparse in the temporal spectrum (k-t FOCUSS, k-t SPARSE-SENSE)."""
    return fista(data, lambda x: threshold_temporal_spectrum(x, weight))


def ls(data: Measurement, weights: tuple[float, float]) -> np.ndarray:
    """Decompose into low rank plus sparse (Otazo, Candès, Sodickson 2015)."""
    low, sparse = zero_filled(data), np.zeros_like(data.adjoint(data.y))
    for _ in range(ITERATIONS):
        together = data.step(low + sparse)
        u, values, v = np.linalg.svd((together - sparse).reshape(len(low), -1), full_matrices=False)
        values = np.maximum(values - weights[0] * values[0], 0)
        new = ((u * values) @ v).reshape(low.shape)
        sparse = np.fft.ifft(
            soft(np.fft.fft(together - low, axis=0, norm="ortho"), weights[1]), axis=0, norm="ortho"
        )
        low = new
    return low + sparse


CLASSICAL = {
    "wavelet": (wavelet, list(WEIGHTS)),
    "kt": (kt, list(WEIGHTS)),
    "ls": (ls, list(itertools.product((0.003, 0.01, 0.03, 0.1), np.geomspace(3e-3, 0.1, 4)))),
}


@cache
def tuned_weights(method_name: str, simulation: tuple[tuple[str, object], ...]):
    """Return the weights of a classical method that are best for the heart of another cine."""
    other = cardiac_cine(100, **dict(simulation))
    method, weights = CLASSICAL[method_name]
    data = Measurement(other.maps, other.kspace)
    return max(weights, key=lambda w: quality(method(data, w), other)[1])


def simulation(args) -> tuple[tuple[str, object], ...]:
    """Return how the cine is simulated."""
    names = ("side", "acceleration", "coils", "breathing")
    return (("beats", tuple(args.beats)), *((name, getattr(args, name)) for name in names))


def observation_of(kspace: np.ndarray) -> Observation:
    """Return the observation of k-space (T, coils, Y, X); samples of 0 are missing."""
    parts = np.concatenate((kspace.real, kspace.imag), axis=1)
    missing = np.concatenate((kspace == 0, kspace == 0), axis=1)
    return Observation.from_array(parts, axes="TCYX", mask=missing)


def restored(way: str, one: CardiacCine, args) -> tuple[np.ndarray, str]:
    """Return the series (T, Y, X), and the settings or steps of the method."""
    data = Measurement(one.maps, one.kspace)
    if way == "zero-filled":
        return zero_filled(data), ""
    if way == "sense":
        return sense(data), ""
    if way in CLASSICAL:
        weight = tuned_weights(way, simulation(args))
        return CLASSICAL[way][0](data, weight), f"{np.round(weight, 4)}"
    maps = np.concatenate((one.maps.real, one.maps.imag))
    observation = observation_of(one.kspace).with_auxiliary("coil_maps", maps, axes="CYX")
    preset, changes = OURS.get(way, (way, {}))
    result = restore(observation, Recipe.preset(preset).with_settings(changes))
    return result.image[:, 0] + 1j * result.image[:, 1], selected_steps(result)


def scaled(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the magnitude of `x`, scaled by one factor to match the truth."""
    x, truth = np.abs(x), np.abs(truth)
    return x * (x * truth).sum() / (x * x).sum()


def quality(x: np.ndarray, one: CardiacCine) -> tuple[float, float, float]:
    """Return the PSNR, that of the heart, and the error of the area of blood in the ventricle."""
    x, truth = scaled(x, one.truth), np.abs(one.truth)
    heart = (slice(None), *one.heart)
    peak = truth.max()
    whole, inside = (
        10 * np.log10(peak**2 / np.mean((a - b) ** 2)) for a, b in ((x, truth), (x[heart], truth[heart]))
    )
    area, true = (blood_area(series, one.center) for series in (x, truth))
    return whole, inside, np.sqrt(np.mean((area - true) ** 2)) / true.mean()


def blood_area(x: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return the area of blood in the ventricle in each frame, by its brightness against the wall."""
    side = x.shape[-1]
    rows, columns = (np.arange(side) - at[:, None] for at in center.T)
    inside = np.hypot(rows[:, :, None], columns[:, None]) < 0.135 * side
    return (np.clip((x - WALL) / (BLOOD - WALL), 0, 1) * inside).sum(axis=(1, 2))


def real(args) -> None:
    """Print the table of a real slice: held-out samples, predicted from the others."""
    whole = np.load(DATA / "mri" / "cartesian_ksp_8coil_230x180_c64.npy")[None]
    acquired = (whole != 0).all(axis=1)[0]
    header("method", "held out", "seed", "error of held-out samples", "settings or steps")
    for fraction, seed in itertools.product((0.2, 0.5), args.seeds):
        rng = np.random.default_rng(seed)
        middle = np.zeros_like(acquired)
        middle[tuple(slice(n // 2 - 12, n // 2 + 12) for n in middle.shape)] = True
        held_out = acquired & (rng.random(acquired.shape) < fraction) & ~middle
        given = np.where(held_out, 0, whole)
        frame = observation_of(given)
        estimated = Sense().build(FitData.from_observation(frame)).maps.numpy()
        maps = np.fft.fftshift(estimated, axes=(-2, -1))
        data = Measurement(maps, given)
        result = restore(frame, Recipe.preset("dynamic-mri"))
        methods = {
            "zero-filled": (zero_filled(data), ""),
            **{f"sense, {n} iterations": (sense(data, n), "") for n in (5, 12, 30)},
            "dynamic-mri": (result.image[:, 0] + 1j * result.image[:, 1], selected_steps(result)),
        }
        for method, (x, settings) in methods.items():
            predicted = to_kspace(x[:, None] * maps)[..., held_out]
            truth = whole[..., held_out]
            scale = np.vdot(predicted, truth) / np.vdot(predicted, predicted)
            error = np.linalg.norm(scale * predicted - truth) / np.linalg.norm(truth)
            row(method, f"{fraction:.0%}", seed, f"{error:.3f}", settings)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beats", type=int, nargs="+", default=[10, 10])
    parser.add_argument("--acceleration", type=float, default=12)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--breathing", type=float, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    methods = ["zero-filled", "sense", *CLASSICAL, "dynamic-mri"]
    parser.add_argument("--methods", nargs="+", default=methods)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--figure", help="name of a figure of one frame, and of an animation")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(conditions(args.threads), flush=True)
    if args.real:
        real(args)
        return
    header("method", "seed", "PSNR", "PSNR of the heart", "area error", "s", "settings or steps")
    panels = {}
    for way, seed in itertools.product(args.methods, args.seeds):
        one = cardiac_cine(seed, **dict(simulation(args)))
        if way in CLASSICAL:
            tuned_weights(way, simulation(args))
        started = time.perf_counter()
        x, settings = restored(way, one, args)
        whole, inside, area = quality(x, one)
        seconds = time.perf_counter() - started
        row(way, seed, f"{whole:.2f}", f"{inside:.2f}", f"{area:.1%}", f"{seconds:.0f}", settings)
        panels |= {way: scaled(x, one.truth), "truth": np.abs(one.truth)}
    if args.figure:
        figure(args.figure, *((way, series[4]) for way, series in panels.items()), limits=(0, 1))
        moving = {way: series for way, series in panels.items() if way not in ("sense", "wavelet")}
        animation(args.figure, *moving.items(), limits=(0, 1))


if __name__ == "__main__":
    main()
