"""Every single-image use of the method, on real images: prints tables, saves pictures into docs/images.

Run as ``python benchmarks/stills.py [JOB ...] [--reference] [--threads 1]``. Truth only scores; it
chooses no iteration and no setting of ours. Classical rivals are tuned by the truth, which favours
them. With ``--reference`` the original's published configuration runs on the same pixels, in single
precision, and is scored at its best iteration by truth; that takes hours on a processor.

The settings of the presets come from measurements on chelsea and coffee; none is used here.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
from astropy.wcs import WCS
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.ndimage import shift as shifted
from skimage import data
from skimage.feature import peak_local_max
from skimage.restoration import inpaint_biharmonic, richardson_lucy, wiener

import reference
from common import (
    DATA,
    centre,
    conditions,
    halved,
    header,
    natural,
    picture,
    psnr,
    row,
    taken,
)
from napari_dip import Observation, Recipe, RestorationError, read, restore, write
from napari_dip.physics.operators._psf import psf_model

SIDE = 128  # of the crops that the reference configuration has to manage on a processor


def channels_first(image):
    """(C, Y, X) from 0 to 1, as the reference wants it."""
    return (np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]) / 255


def oracle(observed, forward, truth, settings, steps, **options):
    """The reference's best running average by truth, as text."""
    found = reference.oracle(observed, forward, channels_first(truth), settings, steps=steps, **options)
    return f"{found['average']:.2f} at {found['average_at']} of {found['steps']}"


def inpaint(asked):
    """Random pixels missing."""
    header("image", "missing", "biharmonic", "reference, oracle", "ours, stopped", "at step")
    for missing, steps in ((0.5, 4000), (0.9, 3000)):
        for name in ("barbara", "camera"):
            truth = centre(natural(f"{name}.png"), SIDE)
            holes = np.random.default_rng(0).random(truth.shape) < missing
            bar = "-"
            if asked.reference:
                observed = np.where(holes, np.nan, channels_first(truth))
                bar = oracle(
                    observed,
                    lambda x: x,
                    truth,
                    reference.RANDOM_PIXELS,
                    steps,
                    hard_data_consistency=True,
                )
            classical = inpaint_biharmonic(np.where(holes, 0, truth) / 255, holes) * 255
            observation = Observation.from_array(truth, axes="YX", mask=holes)
            result = restore(observation, Recipe.preset("inpaint-random"))
            row(
                name, f"{missing:.0%}", f"{psnr(truth, classical):.2f}", bar,
                f"{psnr(truth, result.image):.2f}", taken(result),
            )  # fmt: skip


def holes(asked):
    """Large holes, text, a scratch, and a picture of two per cent of its pixels."""
    import maskfill

    for name in ("vase", "library"):
        truth = halved(natural(f"{name}.png"))
        missing = halved((natural(f"{name}_mask.png") < 128).astype(float)) > 0
        rivals = [
            maskfill.maskfill(np.where(missing, np.nan, c), missing.astype(int))[0]
            for c in np.moveaxis(truth, -1, 0)
        ]
        observation = Observation.from_array(truth, axes="YXC", mask=missing)
        result = restore(observation, Recipe.preset("inpaint-region"))
        print(f"{name}: {result.stop_reason}, {result.provenance['seconds']:.0f} s")
        seen = np.where(missing[..., None], 255, truth)
        picture(
            f"hole_{name}", ("given", seen), ("maskfill", np.stack(rivals, -1)),
            ("deep image prior", result.image),
        )  # fmt: skip
    kate = centre(natural("kate.png"), 192)
    text = centre(natural("kate_mask.png"), 192) < 128
    result = restore(Observation.from_array(kate, axes="YXC", mask=text), Recipe.preset("inpaint"))
    classical = inpaint_biharmonic(np.where(text[..., None], 0, kate) / 255, text, channel_axis=-1) * 255
    print(
        f"kate, text: {psnr(kate, result.image):.2f} dB at {taken(result)}"
        f", biharmonic {psnr(kate, classical):.2f}"
    )
    picture(
        "text_kate", ("given", np.where(text[..., None], 255, kate)), ("biharmonic", classical),
        ("deep image prior", result.image),
    )  # fmt: skip
    few = np.random.default_rng(0).random(kate.shape[:2]) < 0.98
    result = restore(Observation.from_array(kate, axes="YXC", mask=few), Recipe.preset("inpaint-sparse"))
    classical = inpaint_biharmonic(np.where(few[..., None], 0, kate) / 255, few, channel_axis=-1) * 255
    print(
        f"kate, 98 % missing: {psnr(kate, result.image):.2f} dB, biharmonic {psnr(kate, classical):.2f}"
    )
    picture(
        "sparse_kate", ("2 % given", np.where(few[..., None], 0, kate)), ("biharmonic", classical),
        ("deep image prior", result.image),
    )  # fmt: skip


def scratch(asked):
    """A painted scratch on a microscopy frame under photon noise."""
    import maskfill

    from napari_dip.datasets import scratched_cell

    noisy, flagged, truth = scratched_cell()
    window = np.s_[60:220, 60:220]
    frame, flagged, truth = noisy[window], flagged[window], truth[window]
    rival = maskfill.maskfill(np.where(flagged, np.nan, frame), flagged.astype(int))[0]
    classical = inpaint_biharmonic(np.where(flagged, 0, frame) / 255, flagged) * 255
    result = restore(Observation.from_array(frame, axes="YX", mask=flagged), Recipe.preset("denoise"))
    errors = [np.sqrt(np.mean((x - truth)[flagged] ** 2)) for x in (rival, classical, result.image)]
    print(
        "scratch, r.m.s. error in photons: maskfill {:.2f}, biharmonic {:.2f}, ours {:.2f}".format(
            *errors
        )
    )
    picture(
        "scratch_cell", ("given", frame), ("maskfill", rival), ("deep image prior", result.image),
        ("truth", truth.astype(float)), limits=(20, 180),
    )  # fmt: skip


def lanczos3(image, factor):
    """Pillow's own reduction, without rounding: it made the low resolution of all published tests."""
    size = (image.shape[1] // factor, image.shape[0] // factor)
    planes = np.moveaxis(image, -1, 0).astype(np.float32)
    return np.stack(
        [np.array(Image.fromarray(p, mode="F").resize(size, Image.LANCZOS)) for p in planes], -1
    )


def lanczos2_forward(factor):
    """The reference's own forward operator: Lanczos-2, at half a pixel's phase, edges repeated."""
    import torch

    at = (np.arange(4 * factor) + 0.5 - 2 * factor) / factor
    line = np.sinc(at) * np.sinc(at / 2)
    kernel = torch.tensor(np.outer(line, line) / line.sum() ** 2, dtype=torch.float32)[None, None]
    before, after = (3 * factor) // 2, 3 * factor - (3 * factor) // 2

    def forward(x):
        padded = torch.nn.functional.pad(x, (before, after, before, after), mode="replicate")
        weights = kernel.repeat(x.shape[1], 1, 1, 1)
        return torch.nn.functional.conv2d(padded, weights, stride=factor, groups=x.shape[1])

    return forward


def super_resolution(asked):
    """Factors of 2, 4 and 8 on photographs."""
    header(
        "image", "factor", "bicubic", "reference, oracle", "ours, stopped", "at step", "predicts input"
    )
    for factor in asked.factors:
        for name in ("zebra_GT", "astronaut"):
            truth = centre(natural(f"{name}.png"), max(SIDE, 32 * factor))
            low = lanczos3(truth, factor)
            size = truth.shape[1::-1]
            cubic = np.stack(
                [
                    np.array(Image.fromarray(p.astype(np.float32), mode="F").resize(size, Image.BICUBIC))
                    for p in np.moveaxis(low, -1, 0)
                ],
                -1,
            )
            bar = "-"
            if asked.reference and factor == 4:
                given = channels_first(low)
                bar = oracle(given, lanczos2_forward(4), truth, reference.SUPER_RESOLUTION, 2000)
            recipe = Recipe.preset("super-resolution").with_settings(
                {"operator.scale_factor": factor, "ensemble.size": asked.members}
            )
            result = restore(Observation.from_array(low, axes="YXC"), recipe)
            row(
                name, factor, f"{psnr(truth, cubic):.2f}", bar, f"{psnr(truth, result.image):.2f}",
                taken(result),
                f"{result.provenance['operator']['consistency_db'][0]:.1f} dB",
            )  # fmt: skip
            if factor == 4:
                picture(
                    f"super_resolution_{name.lower()}", ("given", low), ("bicubic", cubic),
                    ("deep image prior", result.image), ("truth", truth),
                )  # fmt: skip


def sky(asked):
    """A survey's cutout at four times its resolution, with its coordinates, beside Hubble's."""
    source = DATA / "astronomy" / "cosmos_hsc_grizy_50.fits"
    target = Path(tempfile.mkdtemp()) / "cosmos_x4.fits"
    cube = read(source)  # nothing in the file says that its third axis are bands
    observation = Observation.from_array(cube.y[:, 0, 0], axes="CYX", header=cube.header)
    recipe = Recipe.preset("super-resolution").with_settings({"ensemble.size": asked.members})
    result = restore(observation, recipe)
    print(result.summary)
    write(target, result)
    before, after = WCS(fits.getheader(source)).celestial, WCS(fits.getheader(target)).celestial
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.5, 49.5, (2, 200))
    back = before.world_to_pixel(after.pixel_to_world(4 * (x + 0.5) - 0.5, 4 * (y + 0.5) - 0.5))
    print(
        f"largest error of the written coordinates: {np.abs(np.array(back) - (x, y)).max():.2e} input px"
    )
    # Inside, away from edges that a Lanczos filter sees in part.
    flux_in = np.nansum(cube.y[:, 0, 0, 5:-5, 5:-5], axis=(1, 2))
    flux_out = result.image[:, 20:-20, 20:-20].sum(axis=(1, 2))
    gain = 16 if "kept" in result.provenance["operator"]["remark"].split(":")[-1] else 1
    unit = observation.header.unit or "none"
    print(f"unit {unit}: {result.provenance['operator']['remark']}")
    ratio = flux_out / flux_in / (1 if "flux" in result.provenance["operator"]["remark"] else gain)
    print("sum of the result over that of the input, by band:", np.round(ratio, 5))
    hubble = fits.getdata(DATA / "astronomy" / "cosmos_hst_f814w_250.fits")
    band = 2
    seen = np.arcsinh(cube.y[band, 0, 0] / 0.1)
    fine = np.arcsinh(result.image[band] / 0.1)
    sharp = np.arcsinh(hubble / (3 * mad_std(hubble)))
    sharp = np.interp(sharp, np.percentile(sharp, (1, 99.5)), np.percentile(seen, (1, 99.5)))
    picture(
        "sky_cosmos", ("HSC i, given", seen), ("deep image prior x4", fine),
        ("Hubble F814W, the same sky", sharp),
    )  # fmt: skip


def blurred(scene, psf):
    """The scene seen through `psf`, with what lies beyond the frame; cut to the inside."""
    from scipy.signal import fftconvolve

    return fftconvolve(scene, psf, mode="valid")


def best_classical(seen, psf, truth, low, span):
    """Richardson-Lucy and Wiener of scikit-image, each at its best setting by truth."""
    half = len(psf) // 2
    padded = np.pad((seen - low) / span, half, mode="reflect")
    inside = np.s_[half:-half, half:-half]

    def score(image):
        return psnr(truth, image[inside] * span + low, truth.max() - truth.min()), image[inside]

    positive = np.clip(padded, 1e-6, None)
    lucy = max(
        (score(richardson_lucy(positive, psf, n, clip=False)) for n in (3, 5, 10, 20, 40, 80, 160)),
        key=lambda found: found[0],
    )
    inverse = max(
        (
            score(wiener(padded, psf, balance, clip=False))
            for balance in 10.0 ** np.arange(-5, 1.1, 0.25)
        ),
        key=lambda found: found[0],
    )
    return lucy, inverse


def deconvolve(asked):
    """A star field and a cell, blurred by a known PSF, under noise."""
    from napari_dip.datasets._star_field import _scene

    rng = np.random.default_rng(5)
    psf = psf_model("moffat", 4.0, 3.0)
    half = len(psf) // 2
    stars = np.minimum(_scene(rng, 128 + 2 * half, 60), 4000)
    cell = data.cell()[200 - half : 328 + half, 200 - half : 328 + half].astype(float)
    header("scene", "given", "Richardson-Lucy, tuned", "Wiener, tuned", "ours, stopped", "at step")
    for name, scene, noise in (("star field", stars, 8.0), ("cell", cell, 2.0)):
        truth = scene[half:-half, half:-half]
        seen = blurred(scene, psf) + rng.normal(0, noise, truth.shape)
        span = truth.max() - truth.min()
        lucy, inverse = best_classical(seen, psf, truth, truth.min(), span)
        observation = Observation.from_array(seen, axes="YX").with_auxiliary("psf", psf)
        result = restore(observation, Recipe.preset("deconvolve"))
        row(
            name, f"{psnr(truth, seen, span):.2f}", f"{lucy[0]:.2f}", f"{inverse[0]:.2f}",
            f"{psnr(truth, result.image, span):.2f}", taken(result),
        )  # fmt: skip
        low = truth.min()
        picture(
            f"deconvolve_{name.replace(' ', '_')}", ("given", seen),
            ("Richardson-Lucy, tuned by truth", lucy[1] * span + low),
            ("deep image prior", result.image), ("truth", truth),
            limits=tuple(np.percentile(truth, (1, 99.5))),
        )  # fmt: skip


def frames(asked):
    """Three drifting exposures of M13: two are combined, and the third, independent, judges."""
    paths = [DATA / "astronomy" / f"M13_blue_000{number}.fits" for number in (1, 2, 3)]
    recipe = Recipe.preset("combine")
    whole = [read(path).y[0, 0, 0] for path in paths]
    shifts = recipe.operator._shifts(np.stack(whole)[:, None])
    print("shifts (y, x) of the whole frames:", shifts.round(2).tolist())
    stack = np.stack(whole)[:, 420:612, 560:752]
    aligned = np.array([shifted(f, s, order=3, cval=np.nan) for f, s in zip(stack, shifts, strict=True)])
    told = recipe.with_settings({"operator.shifts": shifts[:2].tolist()})
    pair = restore(Observation.from_array(stack[:2], axes="TYX"), told)
    print(pair.summary)
    inside = np.s_[16:-16, 48:-16]  # where all three frames are

    def blobs(image):
        """How much a place outshines its surroundings, at the size of a star."""
        return -gaussian_laplace(image - np.nanmedian(image), 3)[inside]

    noise = mad_std(blobs(aligned[0] - aligned[2])) / np.sqrt(2)
    mean, third = aligned[:2].mean(axis=0), blobs(aligned[2])
    every = blobs(aligned.mean(axis=0))

    def stars(image):
        return peak_local_max(blobs(image), min_distance=4, threshold_abs=4 * noise / np.sqrt(2))

    seen = stars(mean)
    true = seen[third[tuple(seen.T)] > 1.5 * noise]
    print(f"peaks of the mean of frames 1 and 2: {len(seen)}, also in frame 3: {len(true)}")
    header("frames 1 and 2", "r.m.s. to frame 3", "light of the stars, of frame 3's", "lost", "made")
    smooth = {f"mean, smoothed by {width} px": gaussian_filter(mean, width) for width in (1, 2, 3)}
    for name, image in {"aligned mean": mean, **smooth, "combine": pair.image}.items():
        light, found = blobs(image)[tuple(true.T)], stars(image)
        row(
            name, f"{np.std((image - aligned[2])[inside]):.2f} adu",
            f"{light.sum() / third[tuple(true.T)].sum():.2f}",
            int(np.sum(light < 0.5 * every[tuple(true.T)])),
            int(np.sum(third[tuple(found.T)] < 1.5 * noise)),
        )  # fmt: skip
    everything = recipe.with_settings({"operator.shifts": shifts.tolist()})
    result = restore(Observation.from_array(stack, axes="TYX"), everything)
    picture(
        "frames_m13", ("one exposure", stack[0]), ("aligned mean of 3", np.nanmean(aligned, axis=0)),
        ("combined", result.image), limits=tuple(np.percentile(stack[0], (5, 99.7))),
    )  # fmt: skip


def guided(asked):
    """Flash guiding no flash; one infrared band guiding another."""
    dark, flash = (halved(natural(f"cave01_0{n}.jpg"), 4) for n in ("1_noflash", "0_flash"))
    observation = Observation.from_array(dark, axes="YXC")
    recipe = Recipe.preset("guided")
    result = restore(observation.with_auxiliary("guide", flash), recipe)
    print(f"cave: {result.stop_reason}")
    picture("guided_cave", ("no flash", dark), ("flash, the guide", flash), ("guided", result.image))
    try:
        restore(observation.with_auxiliary("guide", np.roll(flash, (5, -7), (0, 1))), recipe)
    except RestorationError as error:
        print(f"a guide that is shifted: {error}")
    window = np.s_[..., 300:428, 300:428]
    bands = [read(DATA / "astronomy" / f"gc_2mass_{b}.fits").y[0, 0, 0][window[1:]] for b in "hk"]
    noisy = bands[0] + np.random.default_rng(0).normal(0, 40, bands[0].shape)
    given = Observation.from_array(noisy, axes="YX")
    plain = restore(given, Recipe.preset("denoise"))
    result = restore(given.with_auxiliary("guide", bands[1]), recipe)
    errors = [np.sqrt(np.mean((image - bands[0]) ** 2)) for image in (noisy, plain.image, result.image)]
    print(
        "2MASS H with added noise, r.m.s. error: given {:.1f}, alone {:.1f}, guided by K {:.1f}".format(
            *errors
        )
    )
    picture(
        "guided_2mass", ("H with noise added", noisy), ("K, the guide", bands[1]),
        ("denoised alone", plain.image), ("guided", result.image), ("H", bands[0]),
        limits=tuple(np.percentile(bands[0], (1, 99))),
    )  # fmt: skip


def jpeg(asked):
    """The compressed snail."""
    snail = natural("snail.jpg")[20:212, 120:312]
    result = restore(Observation.from_array(snail, axes="YXC"), Recipe.preset("jpeg"))
    print(f"snail: {result.stop_reason}, {result.provenance['seconds']:.0f} s")
    picture("jpeg_snail", ("given", snail), ("restored", result.image))


def noise(asked):
    """The noise that a header promises, against the noise that is there."""
    from dataclasses import replace

    observation = read(DATA / "astronomy" / "saao_ccd_a8280271.fits")
    (_, frame), *_ = observation.iter_planes()
    told = Recipe().with_settings({"noise.kind": "poisson-gaussian"}).noise
    print("header as it is:", told.likelihood(frame).source)
    cards = frame.header.fits_header
    for lie in ("7.6", "0.3"):
        line = next(c for c in cards.split("\n") if c.startswith("GAIN "))
        false = cards.replace(line, f"GAIN    = {lie:>20}".ljust(80))
        lying = replace(frame, header=replace(frame.header, cards=false))
        print(f"GAIN = {lie}:", told.likelihood(lying).source)


def censored(asked):
    """Stars that saturate at 60 % of their peaks."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:128, :128].astype(float)
    truth = np.full(y.shape, 100.0)
    places = [(row, column) for row in range(16, 128, 24) for column in range(16, 128, 24)]
    peak = 1500.0
    for place in places:
        at = np.array(place) + rng.uniform(-1, 1, 2)
        truth += peak * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * 1.8**2))
    ceiling = 100 + 0.6 * peak
    seen = np.minimum(truth + rng.normal(0, 8, truth.shape), ceiling)
    observation = Observation.from_array(seen, axes="YX")
    saturated = seen >= ceiling
    header("likelihood", "flux of the saturated cores, of the truth's")
    fluxes, images = [], []
    for preset in ("denoise", "saturated"):
        result = restore(observation, Recipe.preset(preset))
        images.append(result.image)
        fluxes.append((result.image - 100)[saturated].sum() / (truth - 100)[saturated].sum())
        row(preset, f"{fluxes[-1]:.3f}")
    row("(as observed)", f"{(seen - 100)[saturated].sum() / (truth - 100)[saturated].sum():.3f}")
    part = np.s_[:64, :64]
    picture(
        "censored_stars", ("given, saturated", seen[part]), ("plain Gaussian", images[0][part]),
        ("censored", images[1][part]), ("truth", truth[part]), limits=(80, 1600),
    )  # fmt: skip


def robust(asked):
    """Cosmic rays that nobody painted, on a Gemini frame."""
    import astroscrappy

    path = DATA / "astronomy" / "gmos_sci_var_skyfit.fits"
    observation = read(path)
    frame = observation.y[0, 0, 0]
    result = restore(observation, Recipe.preset("clean"))
    ours = result.inpainted & observation.observed[0, 0, 0]
    theirs, _ = astroscrappy.detect_cosmics(
        np.nan_to_num(frame).astype(np.float32), gain=1.0, readnoise=4.0, sigclip=5.0
    )
    both = int((ours & theirs).sum())
    print(
        f"pixels rejected: ours {int(ours.sum())}, astroscrappy {int(theirs.sum())}, both {both};"
        f" {result.provenance['noise']['origin']}"
    )
    plain = restore(observation, Recipe.preset("denoise"))
    limits = tuple(np.nanpercentile(frame, (5, 99)))
    picture(
        "robust_gmos", ("given", frame), ("denoise", plain.image), ("clean", result.image),
        ("astroscrappy's pixels", theirs * limits[1]), ("ours", ours * limits[1]), limits=limits,
        columns=3,
    )  # fmt: skip


def regularisers(asked):
    """What each explicit regulariser is for, one small scene each; weights chosen on other seeds."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:96, :96]
    flat = 100 + 60.0 * (np.hypot(y - 40, x - 36) < 22) - 40.0 * ((x > 60) & (y > 30) & (y < 80))
    repeated = 100 + 40 * np.sin(np.pi * x / 4) * np.sign(np.sin(np.pi * y / 8 + 0.1))
    spots = np.full(y.shape, 100.0)
    for row_, column in rng.uniform(8, 88, (14, 2)):
        spots += 120 * np.exp(-((y - row_) ** 2 + (x - column) ** 2) / 3)
    header("scene", "regulariser", "without", "with")
    panels = []
    cases = (
        ("flat areas", flat, "total_variation", 1.0),
        ("repeated pattern", repeated, "nuclear_norm", 0.5),
        ("a few spots", spots, "wavelet", 0.05),
    )
    for name, truth, which, weight in cases:
        seen = truth + rng.normal(0, 30, truth.shape)
        observation = Observation.from_array(seen, axes="YX")
        plain = restore(observation, Recipe.preset("denoise"))
        told = Recipe.preset("denoise").with_settings({f"regularisers.{which}": weight})
        helped = restore(observation, told)
        row(
            name,
            f"{which} = {weight}",
            f"{psnr(truth, plain.image):.2f}",
            f"{psnr(truth, helped.image):.2f}",
        )
        panels += [(f"{name}, given", seen), ("prior alone", plain.image), (f"+ {which}", helped.image)]
    picture("regularisers", *panels, columns=3, limits=(20, 220))


JOBS = {
    job.__name__.replace("_", "-"): job
    for job in (
        inpaint, holes, scratch, super_resolution, sky, deconvolve, frames, guided, jpeg, noise,
        censored, robust, regularisers,
    )
}  # fmt: skip


def main() -> None:
    """Run what was asked for."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", help=f"of {', '.join(JOBS)}; all where none is named")
    parser.add_argument("--reference", action="store_true", help="run the original's settings too")
    parser.add_argument("--factors", type=int, nargs="*", default=(2, 4, 8), help="of super-resolution")
    parser.add_argument("--members", type=int, default=3, help="fits, of super-resolution")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{conditions(asked.threads)}; seed 0; PSNR in dB\n")
    for job in asked.jobs or JOBS:
        print(f"\n## {job}\n", flush=True)
        JOBS[job](asked)


if __name__ == "__main__":
    main()
