"""Arrays of hard kinds: is each result right, or called check or failed, or refused?

A silent failure is a result that is called good and is not finite, or further from the truth than the
data are, or for data without noise further than a hundredth of their spread.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from common import conditions, header, row
from napari_dip import Observation, Recipe, restore
from napari_dip.core.errors import RestorationError
from napari_dip.run.recipe import QUALITIES

SIDE = 64
SIGMA = 5.0
FACTORS = {"unknown": None, "right": 1.0, "half": 0.5, "double": 2.0, "1/100": 0.01, "100 times": 100.0}


class Case(NamedTuple):
    """The truth, the data, the noise of the data, and what is missing or known of it."""

    truth: np.ndarray
    data: np.ndarray
    sigma: float
    mask: np.ndarray | None = None
    error: np.ndarray | None = None


def scene(rng: np.random.Generator) -> np.ndarray:
    """Return smooth light with some blobs and a step, 0 to about 100."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = 30 + 20 * np.sin(x / 9 + rng.uniform(0, 6)) + 20.0 * (x > rng.integers(20, 44))
    for row_, column in rng.uniform(8, SIDE - 8, (5, 2)):
        image += 40 * np.exp(-((y - row_) ** 2 + (x - column) ** 2) / rng.uniform(4, 40))
    return image


def stars(rng: np.random.Generator, peak: float) -> np.ndarray:
    """Return stars with peaks of up to `peak`."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE), 100.0)
    for row_, column in rng.uniform(4, SIDE - 4, (12, 2)):
        image += peak * rng.uniform(0, 1) ** 3 * np.exp(-((y - row_) ** 2 + (x - column) ** 2) / 5)
    return image


def noisy(truth: np.ndarray, rng: np.random.Generator, sigma: float = SIGMA, **more) -> Case:
    """Return the truth under white noise."""
    return Case(truth, truth + rng.normal(0, sigma, truth.shape), sigma, **more)


def clean(truth: np.ndarray) -> Case:
    """Return data without noise."""
    return Case(truth, truth.astype(float), 0.0)


def error_map(case: Case, error: np.ndarray) -> Case:
    """Return the case with an error map."""
    return case._replace(error=error)


def counts(mean: np.ndarray, rng: np.random.Generator) -> Case:
    """Return photon counts."""
    return Case(mean, rng.poisson(mean).astype(float), float(np.sqrt(mean.mean())))


def clipped(case: Case, low: float, high: float) -> Case:
    """Return the data cut off at limits."""
    return case._replace(data=case.data.clip(low, high), truth=case.truth.clip(low, high))


def holes(case: Case, share: float, rng: np.random.Generator) -> Case:
    """Return the case with a share of its pixels missing."""
    return case._replace(mask=rng.random(case.data.shape) < share)


Y, X = np.mgrid[:SIDE, :SIDE]
KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "scene": lambda r: noisy(scene(r), r),
    "constant": lambda r: noisy(np.full((SIDE, SIDE), 50.0), r),
    "ramp": lambda r: noisy(2.0 * X, r),
    "ramp without noise": lambda r: clean(2.0 * X + Y),
    "checkerboard": lambda r: noisy(50.0 * ((X // 4 + Y // 4) % 2), r),
    "checkerboard of pixels": lambda r: noisy(50.0 * ((X + Y) % 2), r),
    "periodic": lambda r: noisy(40 * np.sin(X * 1.3) * np.sin(Y * 0.7), r),
    "labels": lambda r: clean((np.hypot(Y - 30, X - r.uniform(20, 40)) // 9).round()),
    "chart": lambda r: clean(np.where((X % 16 == 0) | (Y % 20 == 0) | (X // 2 == Y // 3), 255.0, 0)),
    "beads on zero": lambda r: clean(np.maximum(stars(r, 2000) - 130, 0)),
    "few counts": lambda r: counts(0.1 + 0.0 * X, r),
    "counts of a scene": lambda r: counts(scene(r) / 20, r),
    "many counts": lambda r: counts(10 * scene(r), r),
    "offset 1e4": lambda r: noisy(1e4 + scene(r), r),
    "offset 1e6": lambda r: noisy(1e6 + scene(r), r),
    "offset 1e7": lambda r: noisy(1e7 + scene(r), r),
    "times 1e-30": lambda r: scaled(noisy(scene(r), r), 1e-30),
    "times 1e30": lambda r: scaled(noisy(scene(r), r), 1e30),
    "bright stars": lambda r: noisy(stars(r, 1e6), r),
    "faint stars": lambda r: noisy(stars(r, 40), r),
    "error map with 1e-20": lambda r: error_map(noisy(scene(r), r), with_odd(r, 1e-20)),
    "error map with 1e20": lambda r: error_map(noisy(scene(r), r), with_odd(r, 1e20)),
    "error map of the data": lambda r: own_errors(r),
    "holes of 50 %": lambda r: holes(noisy(scene(r), r), 0.5, r),
    "holes of 95 %": lambda r: holes(noisy(scene(r), r), 0.95, r),
    "holes of 99.9 %": lambda r: holes(noisy(scene(r), r), 0.999, r),
    "all saturated but a tenth": lambda r: clipped(noisy(scene(r), r), -1e9, 35.0),
    "clipped at 0": lambda r: clipped(noisy(scene(r) - 50, r), 0.0, 1e9),
    "correlated": lambda r: correlated(scene(r), r),
    "stripes": lambda r: noisy(scene(r) + 10.0 * (Y % 3 == 0), r),
    "mosaic of colors": lambda r: noisy(scene(r) * np.where((X % 2) & (Y % 2), 2.0, 1.0), r),
    "zero border": lambda r: bordered(noisy(scene(r) + 100, r)),
    "quantized": lambda r: noisy(scene(r), r)._replace(data=(noisy(scene(r), r).data / 8).round() * 8),
    "hot pixels": lambda r: hot(noisy(scene(r), r), r),
}


def scaled(case: Case, factor: float) -> Case:
    """Return the case in other units."""
    return Case(factor * case.truth, factor * case.data, factor * case.sigma, case.mask)


def with_odd(rng: np.random.Generator, value: float) -> np.ndarray:
    """Return an error map with one pixel in a hundred that is `value`."""
    return np.where(rng.random((SIDE, SIDE)) < 0.01, value, SIGMA)


def own_errors(rng: np.random.Generator) -> Case:
    """Return counts with the error map that is made from them, on a pedestal that it contains."""
    mean = 10 * scene(rng) + 500
    data = rng.poisson(mean).astype(float)
    return Case(mean, data, float(np.sqrt(mean.mean())), error=np.sqrt(data))


def correlated(truth: np.ndarray, rng: np.random.Generator) -> Case:
    """Return the truth under smooth noise."""
    noise = gaussian_filter(rng.normal(0, 1, truth.shape), 0.7)
    return Case(truth, truth + SIGMA * noise / noise.std(), SIGMA)


def bordered(case: Case) -> Case:
    """Return the case with corners that are exactly 0."""
    outside = X + Y < SIDE // 2
    return case._replace(data=np.where(outside, 0, case.data), truth=np.where(outside, 0, case.truth))


def hot(case: Case, rng: np.random.Generator) -> Case:
    """Return the case with hot pixels, which count as data: the truth has them."""
    pixels = 2000.0 * (rng.random(case.data.shape) < 0.003)
    return case._replace(data=case.data + pixels, truth=case.truth + pixels)


def rms(error: np.ndarray) -> float:
    """Return the root mean square, of finite values."""
    return float(np.sqrt(np.nanmean(error.astype(float) ** 2)))


def judge(case: Case, factor: float | None, quality: str, steps: int) -> tuple[str, str]:
    """Return the level of the result, with a mark if it is silently wrong, and what was seen."""
    recipe = Recipe.preset("denoise").with_quality(quality)
    recipe = recipe.with_settings({"solver.max_steps": steps})
    error = case.error
    if factor is not None and error is not None:
        error = factor * error
    elif factor is not None:
        recipe = recipe.with_settings({"noise.sigma": factor * (case.sigma or SIGMA / 10)})
    try:
        observation = Observation.from_array(case.data, axes="YX", mask=case.mask, sigma=error)
        result = restore(observation, recipe)
    except RestorationError as refusal:
        return "refused", str(refusal)
    image, level = result.image.astype(float), result.assessment.level
    known = np.isfinite(case.data) & (~case.mask if case.mask is not None else True)
    before, after = rms((case.data - case.truth)[known]), rms((image - case.truth)[known])
    bound = 1.02 * before if case.sigma else 0.01 * float(np.std(case.truth))
    wrong = not np.isfinite(image).all() or after > bound
    seen = f"error {before:.3g} before, {after:.3g} after; {result.assessment}"
    return f"**silent** {level}" if wrong and level == "good" else level, seen


def cases(seeds: list[int], only: list[str]) -> Iterator[tuple[str, int, Case]]:
    """Yield all kinds with all seeds."""
    for name, make in KINDS.items():
        for seed in seeds if not only or name in only else []:
            yield name, seed, make(np.random.default_rng([seed, 17]))


def main() -> None:
    """Print a row for each array, and the number of silent failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--only", nargs="+", default=[], choices=list(KINDS))
    parser.add_argument("--factors", nargs="+", default=list(FACTORS), choices=list(FACTORS))
    parser.add_argument("--quality", choices=QUALITIES, default="fast")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--verbose", action="store_true", help="print what was seen")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{conditions(1)}; denoise, {args.quality}, at most {args.steps} steps, {SIDE} pixels\n")
    header("array", "seed", *(f"sigma {name}" for name in args.factors))
    levels: list[str] = []
    for name, seed, case in cases(args.seeds, args.only):
        seen = [judge(case, FACTORS[factor], args.quality, args.steps) for factor in args.factors]
        row(name, seed, *(level for level, _ in seen))
        levels += [level for level, _ in seen]
        for factor, (level, words) in zip(args.factors, seen, strict=True):
            if args.verbose or "silent" in level:
                print(f"  {factor}: {level}: {words}", flush=True)
    counted = {level: levels.count(level) for level in sorted(set(levels))}
    print(f"\n{len(levels)} runs: {counted}")


if __name__ == "__main__":
    main()
