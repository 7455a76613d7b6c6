"""Whether restored images can be measured: photometry, false sources, coverage, linearity.

Run as ``python benchmarks/trust.py [SECTION ...] [--side 512] [--seeds 3] [--first 100] [--quality
balanced] [--threads 1]``. Every section prints its figures and the bounds that they should keep. The
truth is used only for scores. Fields are simulated: 300 stars in 512 x 512 pixels, FWHM 3 pixels, gain
1.9 electron / adu, read noise 5 electron, sky 100 adu. Needs photutils.

Seeds 1 to 99 are for the choice of settings, those from 100 on for the tables.
"""

import argparse

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.io import fits
from astropy.stats import mad_std
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture
from photutils.detection import find_peaks
from scipy.ndimage import shift as shifted
from scipy.stats import spearmanr

from common import DATA, center, conditions, header, natural, row
from napari_dip import Observation, Recipe, restore

FWHM = 3.0  # pixels
WIDTH = FWHM / np.sqrt(8 * np.log(2))
GAIN, READ_NOISE, SKY = 1.9, 5.0, 100.0
DETECTOR = {"noise.kind": "poisson-gaussian", "noise.gain": GAIN, "noise.read_noise": READ_NOISE}
RADIUS = 2 * FWHM
BEAM = Gaussian2DKernel(WIDTH)


class Field:
    """A simulated star field, in adu, without bias."""

    def __init__(self, seed: int, side: int, *, bright: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        number = round(300 * (side / 512) ** 2)
        self.places = rng.uniform(12, side - 12, (number, 2))
        self.fluxes = 10 ** rng.uniform(2.2, 5.0, number)
        if bright:
            self.places[0], self.fluxes[0] = side / 2, bright
        y, x = np.mgrid[:side, :side]
        self.truth = np.full((side, side), SKY)
        for (row_, column), flux in zip(self.places, self.fluxes, strict=True):
            near = np.s_[
                max(int(row_) - 30, 0) : int(row_) + 31, max(int(column) - 30, 0) : int(column) + 31
            ]
            square = (y[near] - row_) ** 2 + (x[near] - column) ** 2
            self.truth[near] += flux / (2 * np.pi * WIDTH**2) * np.exp(-square / (2 * WIDTH**2))
        self.sigma = np.sqrt(self.truth / GAIN + (READ_NOISE / GAIN) ** 2)
        self.data = self.exposure(rng)

    def exposure(self, rng) -> np.ndarray:
        """Return another exposure of it."""
        electrons = rng.poisson(self.truth * GAIN) + rng.normal(0, READ_NOISE, self.truth.shape)
        return electrons / GAIN

    @property
    def sky(self) -> np.ndarray:
        """Pixels with hardly any flux of stars, (Y, X) bool."""
        return self.truth < SKY + 0.1

    def isolated(self) -> np.ndarray:
        """Return which stars have no neighbor in their aperture or annulus, (N,) bool."""
        distances = np.hypot(*(self.places[:, None] - self.places[None]).T)
        np.fill_diagonal(distances, np.inf)
        return distances.min(axis=0) > 3 * RADIUS

    def flux(self, image: np.ndarray) -> np.ndarray:
        """Return aperture fluxes above the local sky, (N,). [adu]"""
        return flux_at(image, self.places)


def flux_at(image, places) -> np.ndarray:
    """Return fluxes within apertures of 2 FWHM, above the median of an annulus around each."""
    at = places[:, ::-1]
    sky = ApertureStats(image, CircularAnnulus(at, 2.5 * FWHM, 4 * FWHM)).median
    inside = CircularAperture(at, RADIUS)
    return inside.do_photometry(image)[0] - sky * inside.area_overlap(image)


def sources(image: np.ndarray, threshold: float, noise: np.ndarray | None = None) -> np.ndarray:
    """Return peaks (N, 2) of `image`, convolved with the beam, of more than `threshold` sigma.

    Sigma is that of the sky of the convolved image, or of `noise`, convolved as well.
    """
    beamed = convolve_fft(image - np.median(image), BEAM, boundary="wrap")
    reference = (
        beamed if noise is None else convolve_fft(noise - np.median(noise), BEAM, boundary="wrap")
    )
    peaks = find_peaks(beamed, threshold * mad_std(reference), box_size=5, border_width=6)
    return np.empty((0, 2)) if peaks is None else np.array([peaks["y_peak"], peaks["x_peak"]]).T


def matched(peaks: np.ndarray, places: np.ndarray, within: float = 2.0) -> np.ndarray:
    """Return which of `places` (N, 2) have one of `peaks` nearby."""
    if not len(peaks):
        return np.zeros(len(places), bool)
    return np.hypot(*(places[:, None] - peaks[None]).T).T.min(axis=1) < within


def restored(data, args, seed=0, *, mask=None, settings=DETECTOR, preset="denoise", **changes):
    """Return the result of a run."""
    recipe = (
        Recipe.preset(preset)
        .with_quality(args.quality)
        .with_settings({**settings, "seed": seed, **changes})
    )
    return restore(Observation.from_array(data, axes="YX", mask=mask), recipe)


def bins_of(field: Field, args) -> tuple[np.ndarray, np.ndarray]:
    """Return the S/N of each star in its aperture, and the error of its flux."""
    electrons = CircularAperture(field.places[:, ::-1], RADIUS)
    error = np.sqrt(electrons.do_photometry(field.sigma**2)[0])
    return field.fluxes / error, error


def field(args) -> None:
    """T3 to T6, T9, T10: fluxes, background, recall, residual."""
    header("seed", "figure", "data", "restored", "bound")
    for seed in range(args.first, args.first + args.seeds):
        star = Field(seed, args.side)
        result = restored(star.data, args)
        snr, error = bins_of(star, args)
        isolated = star.isolated()
        before, after, truth = star.flux(star.data), star.flux(result.image), star.flux(star.truth)
        for low, high, bound in ((50, np.inf, 0.5), (20, 50, 2), (5, 20, 5)):
            here = isolated & (snr > low) & (snr <= high)
            bias = [100 * np.median((f - truth)[here] / truth[here]) for f in (before, after)]
            row(
                seed, f"flux bias, S/N {low} to {high} ({here.sum()} stars) [%]", f"{bias[0]:+.2f}",
                f"{bias[1]:+.2f}; beyond that of the data {bias[1] - bias[0]:+.2f}", f"{bound}",
            )  # fmt: skip
        here = isolated & (snr > 5)
        pull = np.abs(after - before)[here] / error[here]
        row(seed, "pull, median", 0, f"{np.median(pull):.2f}", 0.8)
        row(seed, "pull, 95th percentile", 0, f"{np.percentile(pull, 95):.2f}", 2.2)
        sky = star.sky
        offset = (result.image - star.data)[sky].mean() / star.sigma[sky].mean()
        row(seed, "background offset [sigma]", 0, f"{offset:+.4f}", 0.02)
        change = result.image.sum(dtype=float) / star.data.sum() - 1
        row(seed, "total flux, change [%]", 0, f"{100 * change:+.4f}", 0.1)
        peaks = [sources(image, 5) for image in (star.data, result.image)]
        faint = (snr > 3) & (snr < 8)
        recall = [100 * matched(p, star.places[faint]).mean() for p in peaks]
        row(
            seed,
            f"recall, S/N 3 to 8 ({faint.sum()} stars) [%]",
            f"{recall[0]:.1f}",
            f"{recall[1]:.1f}",
            "not less",
        )
        false = [int((~matched(star.places, p, 3.0)).sum()) for p in peaks]
        row(seed, "false detections", *false, "")
        strong = sources(result.image, 5, star.data)
        row(
            seed,
            "false detections above 5 sigma of the data",
            "",
            int((~matched(star.places, strong, 3.0)).sum()),
            0,
        )
        residual = (star.data - result.image) / star.sigma
        products = residual[1:] * residual[:-1], residual[:, 1:] * residual[:, :-1]
        lag = [np.mean(product) / np.mean(residual**2) for product in products]
        row(seed, "residual, mean square", "", f"{np.mean(residual**2):.3f}", "0.8 to 1.1")
        row(seed, "residual, correlation of neighbors", "", f"{lag[0]:+.3f}, {lag[1]:+.3f}", 0.05)
        correlation = np.corrcoef(np.abs(residual).ravel(), star.truth.ravel())[0, 1]
        row(seed, "|residual|, correlation with the signal", "", f"{correlation:+.3f}", 0.1)
        at = tuple(np.rint(star.places[snr > 5]).astype(int).T)
        row(seed, "residual on stars, mean", "", f"{residual[at].mean():+.3f}", 0.3)
        for name, part in (("sky", sky), ("stars", ~sky)):
            errors = [f"{(image - star.truth)[part].std():.2f}" for image in (star.data, result.image)]
            row(seed, f"error, {name} [adu]", *errors, "")
        print(f"<!-- {result.summary} -->", flush=True)


def noise(args) -> None:
    """T7: detections in pure noise."""
    header(
        "seed", "above 5 sigma of the data", "above 5 sigma of its own", "maximum [sigma of the data]"
    )
    for seed in range(args.first, args.first + args.seeds):
        rng = np.random.default_rng(seed)
        side = args.side // 2
        data = (rng.poisson(SKY * GAIN, (side, side)) + rng.normal(0, READ_NOISE, (side, side))) / GAIN
        x = restored(data, args).image
        own = sources(x, 5)
        sigma = np.sqrt(SKY / GAIN + (READ_NOISE / GAIN) ** 2)
        row(seed, len(sources(x, 5, data)), len(own), f"{np.abs(x - np.median(x)).max() / sigma:.3f}")


def split(args) -> None:
    """T8: sources in one exposure that another lacks; simulated fields and M13."""
    header(
        "pair",
        "sources above 5 sigma",
        "below 3 sigma in the other exposure",
        "the same for the data",
        "bound [%]",
    )
    for seed in range(args.first, args.first + args.seeds):
        star = Field(seed, args.side)
        other = star.exposure(np.random.default_rng([seed, 1]))
        _compare(f"simulated {seed}", star.data, other, restored(star.data, args).image)
    frames = [
        fits.getdata(DATA / "astronomy" / f"M13_blue_000{n}.fits").astype(float)[256:640, 576:960]
        for n in (1, 2)
    ]
    result = restored(frames[0], args, settings={})
    print(f"<!-- {result.summary} -->", flush=True)
    from skimage.registration import phase_cross_correlation

    moved, *_ = phase_cross_correlation(
        *(np.clip(f, None, np.percentile(f, 99.5)) for f in frames), upsample_factor=20
    )
    _compare("M13", frames[0], shifted(frames[1], moved, order=1, mode="nearest"), result.image)


def _compare(name, data, other, x) -> None:
    beamed = convolve_fft(other - np.median(other), BEAM, boundary="wrap")
    spread = mad_std(beamed)
    counts = []
    for image in (x, data):
        peaks = sources(image, 5, data)
        around = [
            beamed[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].max() for r, c in peaks.astype(int)
        ]
        counts += [len(peaks), int(np.sum(np.array(around) < 3 * spread))]
    row(
        name,
        counts[0],
        f"{counts[1]} ({100 * counts[1] / max(counts[0], 1):.1f} %)",
        f"{counts[3]} of {counts[2]}",
        1,
    )


def seeds(args) -> None:
    """T18: how much the result depends on the seed."""
    star = Field(args.first, args.side // 2)
    runs = np.array([restored(star.data, args, seed).image for seed in range(args.seeds)])
    spread = runs.std(axis=0, ddof=1) / star.sigma
    header("figure", "value", "bound")
    row("standard deviation over seeds [sigma], r.m.s.", f"{np.sqrt(np.mean(spread**2)):.3f}", 0.3)
    row("the same on stars", f"{np.sqrt(np.mean(spread[~star.sky] ** 2)):.3f}", "")


def scale(args) -> None:
    """T15: the same image in other units, a x + b."""
    star = Field(args.first, 128)
    settings = {"solver.max_steps": 300}
    base = restored(star.data, args, settings=settings).image
    header("a", "b", "largest difference [sigma]", "r.m.s. [sigma]", "bound")
    for a, b in ((2.0**-66, 0.0), (2.0**13, 0.0), (1e-20, 0.0), (1e4, 0.0), (1.0, 300.0), (1e4, -5e5)):
        x = (restored(a * star.data + b, args, settings=settings).image.astype(float) - b) / a
        away = np.abs(x - base) / star.sigma
        row(f"{a:g}", f"{b:g}", f"{away.max():.4f}", f"{np.sqrt(np.mean(away**2)):.4f}", 0.01)


def faint(args) -> None:
    """T14: the mean of few photons, which a nonlinear stretch would bias."""
    header("expectation [electron]", "read noise [electron]", "mean, restored minus data [%]", "bound")
    for expected in (1.0, 2.0, 5.0, 20.0):
        for read_noise in (0.0, 3.0, 5.0):
            rng = np.random.default_rng(args.first)
            data = rng.poisson(expected, (96, 96)) + rng.normal(0, read_noise, (96, 96))
            settings = {"noise.kind": "poisson-gaussian" if read_noise else "poisson", "noise.gain": 1.0}
            if read_noise:
                settings["noise.read_noise"] = read_noise
            x = restored(data, args, settings=settings, **{"solver.max_steps": 300}).image
            bias = 100 * (x.mean(dtype=float) - data.mean()) / expected
            row(f"{expected:g}", f"{read_noise:g}", f"{bias:+.3f}", 0.7)


def bright(args) -> None:
    """T9: stars detected near one that is 100,000 times as bright."""
    header("seed", "stars within 60 pixels", "detected in data [%]", "detected in result [%]", "bound")
    for seed in range(args.first, args.first + args.seeds):
        star = Field(seed, 256, bright=2e7)
        x = restored(star.data, args).image
        snr, _ = bins_of(star, args)
        away = np.hypot(*(star.places - star.places[0]).T)
        near = (away > 3 * RADIUS) & (away < 60) & (snr > 5)
        shares = [100 * matched(sources(i, 5), star.places[near]).mean() for i in (star.data, x)]
        row(seed, int(near.sum()), *(f"{share:.1f}" for share in shares), "within 2")


def zoom(args) -> None:
    """T16: fluxes and positions after super-resolution."""
    from photutils.centroids import centroid_com, centroid_sources
    from skimage.measure import block_reduce

    header("seed", "figure", "value", "bound")
    for seed in range(args.first, args.first + min(args.seeds, 2)):
        fine = Field(seed, 256)
        coarse = block_reduce(fine.truth, 2, np.mean)
        rng = np.random.default_rng(seed)
        data = (rng.poisson(coarse * GAIN) + rng.normal(0, READ_NOISE, coarse.shape)) / GAIN
        result = restored(data, args, preset="super-resolution", **{"operator.scale_factor": 2})
        total = result.image.sum(dtype=float) / 4 / data.sum() - 1
        row(seed, "total flux, change [%]", f"{100 * total:+.4f}", 0.1)
        snr, _ = bins_of(fine, args)
        good = fine.isolated() & (snr > 50)
        places = fine.places[good]
        x, y = centroid_sources(
            result.image - np.median(result.image),
            *places.T[::-1],
            box_size=11,
            centroid_func=centroid_com,
        )
        tx, ty = centroid_sources(
            fine.truth - SKY, *places.T[::-1], box_size=11, centroid_func=centroid_com
        )
        away = np.hypot(x - tx, y - ty) / 2
        row(
            seed,
            "positions, median and largest error [pixel of the data]",
            f"{np.median(away):.3f}, {away.max():.3f}",
            "0.05, 0.2",
        )
        residual = result.residual / np.sqrt(coarse / GAIN + (READ_NOISE / GAIN) ** 2)
        row(seed, "residual, mean square", f"{np.mean(residual**2):.3f}", "0.8 to 1.1")


def coverage(args) -> None:
    """T17: how often the truth is inside the intervals of four fits."""
    header(
        "field",
        "noise",
        "inside 68 % [%]",
        "inside 95 % [%]",
        "on the sky",
        "on stars",
        "rank correlation with the error",
    )
    for name, truth in _scenes(args):
        for kind in ("gaussian", "poisson", "poisson-gaussian"):
            rng = np.random.default_rng(7)
            if kind == "gaussian":
                data, settings = truth + rng.normal(0, 8, truth.shape), {}
            else:
                data = rng.poisson(truth * GAIN).astype(float)
                settings = {"noise.kind": kind, "noise.gain": GAIN}
                if kind == "poisson-gaussian":
                    data += rng.normal(0, READ_NOISE, truth.shape)
                    settings["noise.read_noise"] = READ_NOISE
                data /= GAIN
            result = restored(data, args, settings=settings, **{"ensemble.size": 4})
            error = np.abs(result.image - truth)
            sigma = result.uncertainty
            sky = truth <= np.percentile(truth, 60)
            inside = [f"{100 * np.mean(error < k * sigma):.0f}" for k in (1, 1.96)]
            where = [
                ", ".join(f"{100 * np.mean((error < k * sigma)[part]):.0f}" for k in (1, 1.96))
                for part in (sky, ~sky)
            ]
            row(name, kind, *inside, *where, f"{spearmanr(sigma.ravel(), error.ravel())[0]:.2f}")


def _scenes(args):
    for seed in range(args.first, args.first + args.seeds):
        yield f"stars {seed}", Field(seed, args.side // 2).truth
    yield "camera", center(natural("camera.png"), args.side // 2)


def region_sums(image) -> np.ndarray:
    """Return the sums over regions of 16 x 16 pixels."""
    return image.reshape(12, 16, 12, 16).sum(axis=(1, 3))


def _cells():
    """Yield real images of cells, smoothed, as expected photons: about 20 at the maximum."""
    import tifffile
    from scipy.ndimage import gaussian_filter

    names = {
        "nuclei": ("stardist_img2d_dsb2018.tif", ...),
        "cells": ("bbbc022_IXMtest_A02_s9_composite.tif", 0),
        "tissue": ("maize_clsm.tif", ...),
    }
    for name, (file, channel) in names.items():
        image = tifffile.imread(DATA / "microscopy" / file)[channel].astype(float)[100:292, 100:292]
        image = gaussian_filter(image - image.min(), 1)
        yield name, 2 + 20 * image / np.percentile(image, 99.5)


def linearity(args) -> None:
    """T19, T20: linearity for images of cells with few photons."""
    from scipy.ndimage import gaussian_filter

    read_noise = 1.5
    settings = {"noise.kind": "poisson-gaussian", "noise.gain": 1.0, "noise.read_noise": read_noise}
    header("image", "figure", "data", "restored", "bound")
    for name, truth in _cells():
        rng = np.random.default_rng(args.first)

        def expose(photons, rng=rng):
            return rng.poisson(photons) + rng.normal(0, read_noise, photons.shape)

        data = expose(truth)
        both = data, restored(data, args, settings=settings).image
        noise_ = np.sqrt(truth + read_noise**2).mean()
        fits_ = [np.polyfit(truth.ravel(), image.ravel(), 1) for image in both]
        row(name, "slope against the truth", *(f"{f[0]:.4f}" for f in fits_), "0.98 to 1.02")
        row(name, "intercept [sigma]", *(f"{f[1] / noise_:+.3f}" for f in fits_), 0.1)
        sums = [100 * (region_sums(image) / region_sums(truth) - 1) for image in both]
        texts = [f"{np.mean(s):+.2f}; {np.sqrt(np.mean(s**2)):.2f}" for s in sums]
        row(name, "sums over 16 x 16 pixels: mean; r.m.s. error [%]", *texts, "1 (mean)")
        bright = region_sums(truth) > np.median(region_sums(truth))
        texts = [f"{np.mean(s[bright]):+.2f}" for s in sums]
        row(name, "the same over the brighter half: mean [%]", *texts, 1)
        rsp = [
            np.corrcoef(gaussian_filter(data, 2).ravel(), gaussian_filter(image, 2).ravel())[0, 1]
            for image in both
        ]
        row(name, "RSP, blurred by 2 pixels", *(f"{r:.4f}" for r in rsp), 0.98)
        other = expose(0.6 * truth)
        ratio = [
            b / a
            for a, b in zip(both, (other, restored(other, args, settings=settings).image), strict=True)
        ]
        inside = truth > np.percentile(truth, 70)
        texts = [
            f"{100 * (np.median(r[inside]) / 0.6 - 1):+.2f}; {np.std(r[inside]):.3f}" for r in ratio
        ]
        row(name, "ratio of two channels: median off by [%]; spread", *texts, "1")
        if name != "nuclei":
            continue
        decay = np.exp(-np.arange(6) / 5.0)
        frames = np.stack([expose(truth * d) for d in decay])
        recipe = Recipe.preset("denoise").with_quality(args.quality).with_settings(settings)
        movie = restore(Observation.from_array(frames, axes="TYX"), recipe).image
        curves = [np.log(stack[:, inside].mean(axis=1)) for stack in (frames, movie)]
        constants = [-1 / np.polyfit(np.arange(6), c, 1)[0] for c in curves]
        texts = [f"{100 * (c / 5 - 1):+.2f}" for c in constants]
        row(name, "time constant of bleaching, off by [%]", *texts, 2)


SECTIONS = {
    f.__name__: f for f in (field, bright, noise, split, seeds, scale, faint, zoom, coverage, linearity)
}


def main() -> None:
    """Print the tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    parser.add_argument("--side", type=int, default=512, help="of the fields, in pixels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=100, help="seed of the first field")
    parser.add_argument("--quality", default="balanced")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{conditions(args.threads)}; fields of {args.side} px, quality {args.quality}")
    for name in args.sections:
        print(f"\n## {name}: {(SECTIONS[name].__doc__ or '').strip()}\n", flush=True)
        SECTIONS[name](args)


if __name__ == "__main__":
    main()
