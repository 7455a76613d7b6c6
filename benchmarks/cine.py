"""Dynamic MRI: a simulated cardiac cine, restored by ours and by the classical methods.

Run as ``python benchmarks/cine.py [--beats 10 10] [--acceleration 12] [--coils 8] [--seeds 0]
[--ways zero-filled sense wavelet kt ls dynamic-mri] [--picture NAME] [--threads 1]``.
PSNR is of magnitudes after one scale for all frames, of the whole picture and of the heart; the area is
that of the left ventricle's blood against time, as an error r.m.s. in parts of its mean. The classical
methods take the weights that were best for another heart (seed 100, other texture, sampling and noise),
by its truth. All are given the coil maps. With ``--real`` a part of the samples of a real slice is kept
back and foretold from the others: an error r.m.s., after one scale, in parts of what was kept back, its
noise among it.
"""

import argparse
import itertools
import time
from functools import cache

import numpy as np
import pywt

from common import DATA, animation, conditions, header, picture, row, taken
from napari_dip import Observation, Recipe, restore
from napari_dip.core.torch_import import torch
from napari_dip.datasets._cardiac_cine import (
    BLOOD,
    HEART,
    WALL,
    CardiacCine,
    cardiac_cine,
    to_image,
    to_kspace,
)
from napari_dip.physics.operators.sense import Sense

ITERATIONS = 80
WEIGHTS = np.geomspace(1e-4, 0.1, 7)
OURS = {  # besides the presets: changes to one
    "time-dependent": ("dynamic-mri", {"network.kind": "time-dependent", "network.channels": 64}),
    "hourglass": ("dynamic-mri", {"network.kind": "hourglass", "network.channels": 64}),
}


class Measured:
    """What was measured of a cine, and A and its adjoint."""

    def __init__(self, maps: np.ndarray, y: np.ndarray) -> None:
        self.maps, self.y, self.sampled = maps, y, y != 0

    def seen(self, x: np.ndarray) -> np.ndarray:
        """The k-space (T, coils, Y, X) of a series (T, Y, X)."""
        return self.sampled * to_kspace(x[:, None] * self.maps)

    def back(self, y: np.ndarray) -> np.ndarray:
        """The adjoint."""
        return (to_image(self.sampled * y) * self.maps.conj()).sum(axis=1)

    def step(self, x: np.ndarray) -> np.ndarray:
        """One step down the squared error; A has a norm of 1."""
        return x + self.back(self.y - self.seen(x))


def zero_filled(data: Measured) -> np.ndarray:
    """A^H y."""
    return data.back(data.y)


def sense(data: Measured, iterations: int = 12) -> np.ndarray:
    """Frame by frame, the least squares by conjugate gradients, stopped early."""
    x = np.zeros_like(left := data.back(data.y))
    direction, power = left, np.vdot(left, left).real
    for _ in range(iterations):
        image = data.back(data.seen(direction))
        length = power / np.vdot(direction, image).real
        x, left = x + length * direction, left - length * image
        power, before = np.vdot(left, left).real, power
        direction = left + power / before * direction
    return x


def soft(values: np.ndarray, threshold: float) -> np.ndarray:
    """Complex soft thresholding."""
    size = np.abs(values)
    return values * np.maximum(1 - threshold / np.maximum(size, 1e-12), 0)


def fista(data: Measured, shrink) -> np.ndarray:
    """The proximal gradient method with momentum (Beck, Teboulle 2009)."""
    x = ahead = zero_filled(data)
    momentum = 1.0
    for _ in range(ITERATIONS):
        before, x = x, shrink(data.step(ahead))
        momentum, last = (1 + np.sqrt(1 + 4 * momentum**2)) / 2, momentum
        ahead = x + (last - 1) / momentum * (x - before)
    return x


def wavelet(data: Measured, weight: float) -> np.ndarray:
    """Compressed sensing frame by frame: sparse in wavelets (Lustig et al. 2007)."""

    def shrink(x: np.ndarray) -> np.ndarray:
        first, *details = pywt.wavedec2(x, "db2", "periodization", level=3, axes=(1, 2))
        kept = [tuple(soft(band, weight) for band in scale) for scale in details]
        return pywt.waverec2([first, *kept], "db2", "periodization", axes=(1, 2))

    return fista(data, shrink)


def in_time(x: np.ndarray, weight: float) -> np.ndarray:
    """The temporal spectrum, thresholded but for the mean."""
    spectrum = np.fft.fft(x, axis=0, norm="ortho")
    spectrum[1:] = soft(spectrum[1:], weight)
    return np.fft.ifft(spectrum, axis=0, norm="ortho")


def kt(data: Measured, weight: float) -> np.ndarray:
    """Sparse in the spectrum over time (k-t FOCUSS, k-t SPARSE-SENSE)."""
    return fista(data, lambda x: in_time(x, weight))


def ls(data: Measured, weights: tuple[float, float]) -> np.ndarray:
    """Low rank plus sparse (Otazo, Candès, Sodickson 2015)."""
    low, sparse = zero_filled(data), np.zeros_like(data.back(data.y))
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
def tuned(way: str, beats: tuple[int, ...], acceleration: float, coils: int):
    """The weights of a classical method that are best for the heart of another cine."""
    other = cardiac_cine(100, beats=beats, acceleration=acceleration, coils=coils)
    method, weights = CLASSICAL[way]
    return max(weights, key=lambda w: quality(method(Measured(other.maps, other.kspace), w), other)[1])


def observation_of(kspace: np.ndarray) -> Observation:
    """K-space (T, coils, Y, X), what is 0 missing."""
    parts = np.concatenate((kspace.real, kspace.imag), axis=1)
    missing = np.concatenate((kspace == 0, kspace == 0), axis=1)
    return Observation.from_array(parts, axes="TCYX", mask=missing)


def restored(way: str, one: CardiacCine, asked) -> tuple[np.ndarray, str]:
    """The series (T, Y, X), and by what settings."""
    data = Measured(one.maps, one.kspace)
    if way == "zero-filled":
        return zero_filled(data), ""
    if way == "sense":
        return sense(data), ""
    if way in CLASSICAL:
        weight = tuned(way, tuple(asked.beats), asked.acceleration, asked.coils)
        return CLASSICAL[way][0](data, weight), f"{np.round(weight, 4)}"
    maps = np.concatenate((one.maps.real, one.maps.imag))
    observation = observation_of(one.kspace).with_auxiliary("coils", maps, axes="CYX")
    preset, changes = OURS.get(way, (way, {}))
    result = restore(observation, Recipe.preset(preset).with_settings(changes))
    return result.image[:, 0] + 1j * result.image[:, 1], taken(result)


def scaled(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The magnitude of `x` after one scale."""
    x, truth = np.abs(x), np.abs(truth)
    return x * (x * truth).sum() / (x * x).sum()


def quality(x: np.ndarray, one: CardiacCine) -> tuple[float, float, float]:
    """PSNR, that of the heart, and the error of the ventricle's area."""
    x, truth = scaled(x, one.truth), np.abs(one.truth)
    heart = (slice(None), *one.heart)
    peak = truth.max()
    whole, inside = (
        10 * np.log10(peak**2 / np.mean((a - b) ** 2)) for a, b in ((x, truth), (x[heart], truth[heart]))
    )
    found, true = blood(x), blood(truth)
    return whole, inside, np.sqrt(np.mean((found - true) ** 2)) / true.mean()


def blood(x: np.ndarray) -> np.ndarray:
    """The area of the ventricle's blood in each frame, by how bright it is against the wall."""
    side = x.shape[-1]
    y, x_ = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    inside = np.hypot(y - HEART[0], x_ - HEART[1]) < 0.135
    return (np.clip((x - WALL) / (BLOOD - WALL), 0, 1) * inside).sum(axis=(1, 2))


def real(asked) -> None:
    """The table of a real slice: samples that were kept back, foretold from the others."""
    whole = np.load(DATA / "mri" / "cartesian_ksp_8coil_230x180_c64.npy")[None]
    measured = (whole != 0).all(axis=1)[0]
    header("way", "kept back", "seed", "error of what was kept back", "settings")
    for kept, seed in itertools.product((0.2, 0.5), asked.seeds):
        rng = np.random.default_rng(seed)
        middle = np.zeros_like(measured)
        middle[tuple(slice(n // 2 - 12, n // 2 + 12) for n in middle.shape)] = True
        back = measured & (rng.random(measured.shape) < kept) & ~middle
        given = np.where(back, 0, whole)
        frame = observation_of(given)
        maps = np.fft.fftshift(Sense().build(frame).maps.numpy(), axes=(-2, -1))
        data = Measured(maps, given)
        result = restore(frame, Recipe.preset("dynamic-mri"))
        ways = {
            "zero-filled": (zero_filled(data), ""),
            **{f"sense, {n} iterations": (sense(data, n), "") for n in (5, 12, 30)},
            "dynamic-mri": (result.image[:, 0] + 1j * result.image[:, 1], taken(result)),
        }
        for way, (x, settings) in ways.items():
            foretold = to_kspace(x[:, None] * maps)[..., back]
            truth = whole[..., back]
            scale = np.vdot(foretold, truth) / np.vdot(foretold, foretold)
            error = np.linalg.norm(scale * foretold - truth) / np.linalg.norm(truth)
            row(way, f"{kept:.0%}", seed, f"{error:.3f}", settings)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beats", type=int, nargs="+", default=[10, 10])
    parser.add_argument("--acceleration", type=float, default=12)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", default=["zero-filled", "sense", *CLASSICAL, "dynamic-mri"])
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--picture", help="name of a picture of one frame, and of an animation")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(conditions(asked.threads), flush=True)
    if asked.real:
        real(asked)
        return
    header("way", "seed", "PSNR", "heart", "area", "s", "settings")
    panels = {}
    for way, seed in itertools.product(asked.ways, asked.seeds):
        one = cardiac_cine(
            seed, beats=tuple(asked.beats), acceleration=asked.acceleration, coils=asked.coils
        )
        if way in CLASSICAL:
            tuned(way, tuple(asked.beats), asked.acceleration, asked.coils)
        begun = time.perf_counter()
        x, settings = restored(way, one, asked)
        whole, inside, area = quality(x, one)
        seconds = time.perf_counter() - begun
        row(way, seed, f"{whole:.2f}", f"{inside:.2f}", f"{area:.1%}", f"{seconds:.0f}", settings)
        panels |= {way: scaled(x, one.truth), "truth": np.abs(one.truth)}
    if asked.picture:
        picture(asked.picture, *((way, series[4]) for way, series in panels.items()), limits=(0, 1))
        moving = {way: series for way, series in panels.items() if way not in ("sense", "wavelet")}
        animation(asked.picture, *moving.items(), limits=(0, 1))


if __name__ == "__main__":
    main()
