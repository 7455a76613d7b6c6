"""All uses on single images, with real data: prints tables, and saves figures to docs/images.

Run as ``python benchmarks/stills.py [JOB ...] [--reference] [--threads 1]``. The truth is used only for
scores: it selects no step and no setting of napari-dip. Classical methods are tuned by the truth, which
favors them. With ``--reference`` the published configuration of the original method runs on the same
pixels, in single precision, and is scored at its best step by ground truth; that takes hours on a CPU.

The settings of the presets come from measurements on chelsea and coffee, which are not used here.
"""

import argparse
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
from astropy.wcs import WCS
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.ndimage import shift as shifted
from skimage.feature import peak_local_max
from skimage.io import imread
from skimage.restoration import inpaint_biharmonic

import reference
from common import (
    DATA,
    center,
    conditions,
    figure,
    halved,
    header,
    natural,
    psnr,
    row,
    selected_steps,
)
from napari_dip import Observation, Recipe, RestorationError, read, restore, write
from napari_dip.core.fit_data import iter_planes
from napari_dip.physics.stripes import find_stripes
from quality import truth_of

SIDE = 128  # of the images that the original configuration can restore on a CPU


def channels_first(image):
    """Return an image as (C, Y, X) from 0 to 1, as the reference takes it."""
    return (np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]) / 255


def oracle(observed, forward, truth, settings, steps, **options):
    """Return the PSNR of the reference's best running average by ground truth, as text."""
    best = reference.oracle(observed, forward, channels_first(truth), settings, steps=steps, **options)
    return f"{best['average']:.2f} at {best['average_at']} of {best['steps']}"


def inpaint(args):
    """Inpaint random missing pixels."""
    header("image", "missing", "biharmonic", "original, best step", "napari-dip", "selected step")
    for fraction, steps in ((0.5, 4000), (0.9, 3000)):
        for name in ("barbara", "camera"):
            truth = center(natural(f"{name}.png"), SIDE)
            missing = np.random.default_rng(0).random(truth.shape) < fraction
            bar = "-"
            if args.reference:
                observed = np.where(missing, np.nan, channels_first(truth))
                bar = oracle(
                    observed,
                    lambda x: x,
                    truth,
                    reference.RANDOM_PIXELS,
                    steps,
                    hard_data_consistency=True,
                )
            classical = inpaint_biharmonic(np.where(missing, 0, truth) / 255, missing) * 255
            observation = Observation.from_array(truth, axes="YX", mask=missing)
            result = restore(observation, Recipe.preset("inpaint-random"))
            row(
                name, f"{fraction:.0%}", f"{psnr(truth, classical):.2f}", bar,
                f"{psnr(truth, result.image):.2f}", selected_steps(result),
            )  # fmt: skip


def regions(args):
    """Inpaint large regions, text, and an image of which two per cent of the pixels are observed."""
    import maskfill

    for name in ("vase", "library"):
        truth = halved(natural(f"{name}.png"))
        missing = halved((natural(f"{name}_mask.png") < 128).astype(float)) > 0
        peers = [
            maskfill.maskfill(np.where(missing, np.nan, c), missing.astype(int))[0]
            for c in np.moveaxis(truth, -1, 0)
        ]
        observation = Observation.from_array(truth, axes="YXC", mask=missing)
        result = restore(observation, Recipe.preset("inpaint-large"))
        print(f"{name}: {result.stop_reason}, {result.provenance.seconds:.0f} s")
        masked = np.where(missing[..., None], 255, truth)
        figure(
            f"hole_{name}", ("masked", masked), ("maskfill", np.stack(peers, -1)),
            ("deep image prior", result.image),
        )  # fmt: skip
    kate = center(natural("kate.png"), 192)
    text = center(natural("kate_mask.png"), 192) < 128
    result = restore(Observation.from_array(kate, axes="YXC", mask=text), Recipe.preset("inpaint"))
    classical = inpaint_biharmonic(np.where(text[..., None], 0, kate) / 255, text, channel_axis=-1) * 255
    print(
        f"kate, text: {psnr(kate, result.image):.2f} dB at {selected_steps(result)}"
        f", biharmonic {psnr(kate, classical):.2f}"
    )
    figure(
        "text_kate", ("masked", np.where(text[..., None], 255, kate)), ("biharmonic", classical),
        ("deep image prior", result.image),
    )  # fmt: skip
    few = np.random.default_rng(0).random(kate.shape[:2]) < 0.98
    result = restore(Observation.from_array(kate, axes="YXC", mask=few), Recipe.preset("inpaint-sparse"))
    classical = inpaint_biharmonic(np.where(few[..., None], 0, kate) / 255, few, channel_axis=-1) * 255
    print(
        f"kate, 98 % missing: {psnr(kate, result.image):.2f} dB, biharmonic {psnr(kate, classical):.2f}"
    )
    figure(
        "sparse_kate", ("2 % of the pixels", np.where(few[..., None], 0, kate)),
        ("biharmonic", classical), ("deep image prior", result.image),
    )  # fmt: skip


def scratch(args):
    """Inpaint a scratch in a microscopy image with photon noise."""
    import maskfill

    from napari_dip.datasets import scratched_cell

    noisy, mask, truth = scratched_cell()
    window = np.s_[60:220, 60:220]
    image, mask, truth = noisy[window], mask[window], truth[window]
    peer = maskfill.maskfill(np.where(mask, np.nan, image), mask.astype(int))[0]
    classical = inpaint_biharmonic(np.where(mask, 0, image) / 255, mask) * 255
    result = restore(Observation.from_array(image, axes="YX", mask=mask), Recipe.preset("denoise"))
    errors = [np.sqrt(np.mean((x - truth)[mask] ** 2)) for x in (peer, classical, result.image)]
    print(
        "scratch, r.m.s. error in photons: maskfill {:.2f}, biharmonic {:.2f}, napari-dip {:.2f}".format(
            *errors
        )
    )
    figure(
        "scratch_cell", ("noisy, with a scratch", image), ("maskfill", peer),
        ("deep image prior", result.image), ("truth", truth.astype(float)), limits=(20, 180),
    )  # fmt: skip


def lanczos3(image, factor):
    """Return the image reduced by Pillow, without rounding, as for all published tests."""
    size = (image.shape[1] // factor, image.shape[0] // factor)
    planes = np.moveaxis(image, -1, 0).astype(np.float32)
    return np.stack(
        [np.array(Image.fromarray(p, mode="F").resize(size, Image.LANCZOS)) for p in planes], -1
    )


def lanczos2_forward(factor):
    """Return the forward operator of the original: Lanczos-2, half a pixel shifted, edges repeated."""
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


def super_resolution(args):
    """Super-resolve photographs by factors of 2, 4 and 8."""
    header(
        "image", "factor", "bicubic", "original, best step", "napari-dip", "selected step",
        "PSNR of the data",
    )  # fmt: skip
    for factor in args.factors:
        for name in ("zebra_GT", "astronaut"):
            truth = center(natural(f"{name}.png"), max(SIDE, 32 * factor))
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
            if args.reference and factor == 4:
                given = channels_first(low)
                bar = oracle(given, lanczos2_forward(4), truth, reference.SUPER_RESOLUTION, 2000)
            recipe = Recipe.preset("super-resolution").with_settings(
                {"operator.scale_factor": factor, "ensemble.size": args.members}
            )
            result = restore(Observation.from_array(low, axes="YXC"), recipe)
            row(
                name, factor, f"{psnr(truth, cubic):.2f}", bar, f"{psnr(truth, result.image):.2f}",
                selected_steps(result),
                f"{result.provenance.operator.data_psnr_db[0]:.1f} dB",
            )  # fmt: skip
            if factor == 4:
                figure(
                    f"super_resolution_{name.lower()}", ("low resolution", low), ("bicubic", cubic),
                    ("deep image prior", result.image), ("truth", truth),
                )  # fmt: skip


def sky(args):
    """Super-resolve a cutout of a survey by 4, with its coordinates, beside an image by Hubble."""
    source = DATA / "astronomy" / "cosmos_hsc_grizy_50.fits"
    target = Path(tempfile.mkdtemp()) / "cosmos_x4.fits"
    cube = read(source)  # the file does not say that its third axis is that of bands
    observation = Observation.from_array(cube.y[:, 0, 0], axes="CYX", header=cube.header)
    recipe = Recipe.preset("super-resolution").with_settings({"ensemble.size": args.members})
    result = restore(observation, recipe)
    print(result.summary)
    write(target, result)
    before, after = WCS(fits.getheader(source)).celestial, WCS(fits.getheader(target)).celestial
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.5, 49.5, (2, 200))
    back = before.world_to_pixel(after.pixel_to_world(4 * (x + 0.5) - 0.5, 4 * (y + 0.5) - 0.5))
    error = np.abs(np.array(back) - (x, y)).max()
    print(f"largest error of the written coordinates: {error:.2e} pixels of the data")
    # Away from edges, beyond which a Lanczos filter lacks data.
    flux_in = np.nansum(cube.y[:, 0, 0, 5:-5, 5:-5], axis=(1, 2))
    flux_out = result.image[:, 20:-20, 20:-20].sum(axis=(1, 2))
    note = result.provenance.operator.note
    print(f"unit {observation.header.unit or 'none'}: {note}")
    ratio = flux_out / flux_in / (1 if "flux is conserved" in note else 16)
    print("sum of the result over that of the data, for each band:", np.round(ratio, 5))
    hubble = fits.getdata(DATA / "astronomy" / "cosmos_hst_f814w_250.fits")
    band = 2
    survey = np.arcsinh(cube.y[band, 0, 0] / 0.1)
    fine = np.arcsinh(result.image[band] / 0.1)
    sharp = np.arcsinh(hubble / (3 * mad_std(hubble)))
    sharp = np.interp(sharp, np.percentile(sharp, (1, 99.5)), np.percentile(survey, (1, 99.5)))
    figure(
        "sky_cosmos", ("HSC i", survey), ("deep image prior x4", fine),
        ("Hubble F814W, same field", sharp),
    )  # fmt: skip


def coadd(args):
    """Coadd two of three shifted exposures of M13, and compare with the third, which is independent."""
    paths = [DATA / "astronomy" / f"M13_blue_000{number}.fits" for number in (1, 2, 3)]
    recipe = Recipe.preset("coadd")
    whole = [read(path).y[0, 0, 0] for path in paths]
    shifts = recipe.operator._shifts(np.stack(whole)[:, None])
    print("shifts (y, x) of the whole exposures:", shifts.round(2).tolist())
    stack = np.stack(whole)[:, 420:612, 560:752]
    aligned = np.array([shifted(f, s, order=3, cval=np.nan) for f, s in zip(stack, shifts, strict=True)])
    with_shifts = recipe.with_settings({"operator.shifts": shifts[:2].tolist()})
    pair = restore(Observation.from_array(stack[:2], axes="TYX"), with_shifts)
    print(pair.summary)
    inside = np.s_[16:-16, 48:-16]  # where all three exposures overlap

    def blobs(image):
        """Return the brightness above the surroundings, at the size of a star."""
        return -gaussian_laplace(image - np.nanmedian(image), 3)[inside]

    noise = mad_std(blobs(aligned[0] - aligned[2])) / np.sqrt(2)
    mean, third = aligned[:2].mean(axis=0), blobs(aligned[2])
    all_three = blobs(aligned.mean(axis=0))

    def stars(image):
        return peak_local_max(blobs(image), min_distance=4, threshold_abs=4 * noise / np.sqrt(2))

    peaks = stars(mean)
    true = peaks[third[tuple(peaks.T)] > 1.5 * noise]
    print(f"peaks in the mean of exposures 1 and 2: {len(peaks)}, also in exposure 3: {len(true)}")
    header(
        "exposures 1 and 2", "r.m.s. difference from exposure 3", "flux of stars / exposure 3",
        "missed stars", "false stars",
    )  # fmt: skip
    smooth = {f"mean, smoothed by {width} px": gaussian_filter(mean, width) for width in (1, 2, 3)}
    for name, image in {"aligned mean": mean, **smooth, "coadd": pair.image}.items():
        flux, detected = blobs(image)[tuple(true.T)], stars(image)
        row(
            name, f"{np.std((image - aligned[2])[inside]):.2f} adu",
            f"{flux.sum() / third[tuple(true.T)].sum():.2f}",
            int(np.sum(flux < 0.5 * all_three[tuple(true.T)])),
            int(np.sum(third[tuple(detected.T)] < 1.5 * noise)),
        )  # fmt: skip
    with_shifts = recipe.with_settings({"operator.shifts": shifts.tolist()})
    result = restore(Observation.from_array(stack, axes="TYX"), with_shifts)
    figure(
        "frames_m13", ("one exposure", stack[0]), ("aligned mean of 3", np.nanmean(aligned, axis=0)),
        ("coadd", result.image), limits=tuple(np.percentile(stack[0], (5, 99.7))),
    )  # fmt: skip


def guided(args):
    """Guide a photograph by another with flash, and an infrared band by another."""
    dark, flash = (halved(natural(f"cave01_0{n}.jpg"), 4) for n in ("1_noflash", "0_flash"))
    observation = Observation.from_array(dark, axes="YXC")
    recipe = Recipe.preset("guided")
    result = restore(observation.with_auxiliary("guide", flash), recipe)
    print(f"cave: {result.stop_reason}")
    figure("guided_cave", ("no flash", dark), ("flash, the guide", flash), ("guided", result.image))
    try:
        restore(observation.with_auxiliary("guide", np.roll(flash, (5, -7), (0, 1))), recipe)
    except RestorationError as error:
        print(f"a guide that is shifted: {error}")
    window = np.s_[..., 300:428, 300:428]
    bands = [read(DATA / "astronomy" / f"gc_2mass_{b}.fits").y[0, 0, 0][window[1:]] for b in "hk"]
    noisy = bands[0] + np.random.default_rng(0).normal(0, 40, bands[0].shape)
    observation = Observation.from_array(noisy, axes="YX")
    plain = restore(observation, Recipe.preset("denoise"))
    result = restore(observation.with_auxiliary("guide", bands[1]), recipe)
    errors = [np.sqrt(np.mean((image - bands[0]) ** 2)) for image in (noisy, plain.image, result.image)]
    print("2MASS H, r.m.s. error: noisy {:.1f}, denoised {:.1f}, guided by K {:.1f}".format(*errors))
    figure(
        "guided_2mass", ("H, with added noise", noisy), ("K, the guide", bands[1]),
        ("denoised", plain.image), ("guided", result.image), ("H", bands[0]),
        limits=tuple(np.percentile(bands[0], (1, 99))),
    )  # fmt: skip


def jpeg(args):
    """Compress photographs, and remove the artifacts; and those of a photograph of a snail."""
    recipe = Recipe.preset("remove-jpeg-artifacts")
    header("photograph", "quality", "given [dB]", "restored [dB]", "seconds")
    public = DATA / "public" / "LIVE1"
    images = {name: natural(f"{name}.png") for name in ("coffee", "astronaut")}
    images |= {name: imread(public / f"{name}.bmp").astype(float) for name in ("parrots", "lighthouse2")}
    for name, image in images.items():
        truth = np.round(center(image))
        for kind, one in (("color", truth), ("gray", np.round(truth @ (0.299, 0.587, 0.114)))):
            for quality in (10, 15, 30):
                file = BytesIO()
                Image.fromarray(one.astype(np.uint8)).save(file, "JPEG", quality=quality)
                given = np.asarray(Image.open(file), np.float32)
                result = restore(Observation.from_array(given, axes="YXC"[: one.ndim]), recipe)
                scores = (f"{psnr(one, x.clip(0, 255)):.2f}" for x in (given, result.image))
                row(f"{name} ({kind})", quality, *scores, f"{result.provenance.seconds:.0f}")
    snail = natural("snail.jpg")[20:212, 120:312]
    result = restore(Observation.from_array(snail, axes="YXC"), recipe)
    print(f"snail: {result.summary}, {result.provenance.seconds:.0f} s")
    figure("jpeg_snail", ("JPEG", snail), ("restored", result.image))


def stripes(args):
    """Remove offsets of rows that are as strong as the noise, and those of columns of a real frame."""
    plain, recipe = Recipe.preset("denoise"), Recipe.preset("remove-stripes")
    header("image", "seed", "striped [dB]", "denoised", "destriped", "no stripes: denoised", "destriped")
    for name in ("F16", "barbara", "camera", "sky-21"):
        truth = truth_of(name, SIDE)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            noisy = truth + rng.normal(0, 15, truth.shape)
            striped = noisy + rng.normal(0, 15, (SIDE, 1, *truth.shape[2:]))
            scores = [psnr(truth, striped)]
            for image in (striped, noisy):
                observation = Observation.from_array(image, axes="YXC"[: truth.ndim])
                if image is noisy and find_stripes(observation, "auto") is None:
                    scores += 2 * ["the same: none are found"]
                    continue
                results = [
                    restore(observation, r.with_settings({"seed": seed})) for r in (plain, recipe)
                ]
                scores += [psnr(truth, result.image) for result in results]
            row(name, seed, *(f"{s:.2f}" if isinstance(s, float) else s for s in scores))
    frame = read(DATA / "astronomy" / "spitzer_irac_sip_nan.fits")
    images = [restore(frame, r) for r in (plain, recipe)]
    for preset, result in zip(("denoise", "remove-stripes"), images, strict=True):
        print(f"Spitzer, {preset}: {result.summary}")
    part = np.s_[:128, :128]
    given, *restored = (np.squeeze(x)[part] for x in (frame.y, *(result.image for result in images)))
    figure(
        "stripes_spitzer", ("IRAC", given), ("denoise", restored[0]), ("remove-stripes", restored[1]),
        limits=tuple(np.nanpercentile(given, (1, 95))),
    )  # fmt: skip


def noise(args):
    """Compare the noise that a header specifies with the measured noise."""
    from dataclasses import replace

    observation = read(DATA / "astronomy" / "saao_ccd_a8280271.fits")
    (_, plane), *_ = iter_planes(observation)
    model = Recipe().with_settings({"noise.kind": "poisson-gaussian"}).noise
    print("header as it is:", model.likelihood(plane).properties.source)
    cards = plane.header.fits_header
    for gain in ("7.6", "0.3"):
        line = next(c for c in cards.split("\n") if c.startswith("GAIN "))
        wrong_cards = cards.replace(line, f"GAIN    = {gain:>20}".ljust(80))
        wrong = replace(plane, header=replace(plane.header, fits_header=wrong_cards))
        print(f"GAIN = {gain}:", model.likelihood(wrong).properties.source)


def censored(args):
    """Restore stars that saturate at 60 % of their peaks."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:128, :128].astype(float)
    truth = np.full(y.shape, 100.0)
    places = [(row, column) for row in range(16, 128, 24) for column in range(16, 128, 24)]
    peak = 1500.0
    for place in places:
        at = np.array(place) + rng.uniform(-1, 1, 2)
        truth += peak * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * 1.8**2))
    ceiling = 100 + 0.6 * peak
    image = np.minimum(truth + rng.normal(0, 8, truth.shape), ceiling)
    observation = Observation.from_array(image, axes="YX")
    saturated = image >= ceiling
    header("preset", "flux of the saturated cores / truth")
    fluxes, images = [], []
    for preset in ("denoise", "denoise-saturated"):
        result = restore(observation, Recipe.preset(preset))
        images.append(result.image)
        fluxes.append((result.image - 100)[saturated].sum() / (truth - 100)[saturated].sum())
        row(preset, f"{fluxes[-1]:.3f}")
    row("(data)", f"{(image - 100)[saturated].sum() / (truth - 100)[saturated].sum():.3f}")
    part = np.s_[:64, :64]
    figure(
        "censored_stars", ("saturated", image[part]), ("denoise", images[0][part]),
        ("denoise-saturated", images[1][part]), ("truth", truth[part]), limits=(80, 1600),
    )  # fmt: skip


def robust(args):
    """Reject cosmic rays, without a mask, in a Gemini image."""
    import astroscrappy

    path = DATA / "astronomy" / "gmos_sci_var_skyfit.fits"
    observation = read(path)
    frame = observation.y[0, 0, 0]
    result = restore(observation, Recipe.preset("denoise-robust"))
    rejected = result.inpainted & observation.observed[0, 0, 0]
    theirs, _ = astroscrappy.detect_cosmics(
        np.nan_to_num(frame).astype(np.float32), gain=1.0, readnoise=4.0, sigclip=5.0
    )
    both = int((rejected & theirs).sum())
    print(
        f"pixels rejected: napari-dip {int(rejected.sum())}, astroscrappy {int(theirs.sum())}, "
        f"both {both}; {result.provenance.noise.source}"
    )
    plain = restore(observation, Recipe.preset("denoise"))
    limits = tuple(np.nanpercentile(frame, (5, 99)))
    figure(
        "robust_gmos", ("data", frame), ("denoise", plain.image), ("denoise-robust", result.image),
        ("rejected by astroscrappy", theirs * limits[1]), ("by napari-dip", rejected * limits[1]),
        limits=limits, columns=3,
    )  # fmt: skip


def regularization(args):
    """Show what each penalty is for, on a small scene each; weights were chosen on other seeds."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:96, :96]
    flat = 100 + 60.0 * (np.hypot(y - 40, x - 36) < 22) - 40.0 * ((x > 60) & (y > 30) & (y < 80))
    repeated = 100 + 40 * np.sin(np.pi * x / 4) * np.sign(np.sin(np.pi * y / 8 + 0.1))
    spots = np.full(y.shape, 100.0)
    for row_, column in rng.uniform(8, 88, (14, 2)):
        spots += 120 * np.exp(-((y - row_) ** 2 + (x - column) ** 2) / 3)
    header("scene", "penalty", "without", "with")
    panels = []
    cases = (
        ("flat areas", flat, "total_variation", 1.0),
        ("repeated pattern", repeated, "nuclear_norm", 0.5),
        ("a few spots", spots, "wavelet_l1", 0.05),
    )
    for name, truth, which, weight in cases:
        image = truth + rng.normal(0, 30, truth.shape)
        observation = Observation.from_array(image, axes="YX")
        plain = restore(observation, Recipe.preset("denoise"))
        recipe = Recipe.preset("denoise").with_settings({f"regularization.{which}": weight})
        penalized = restore(observation, recipe)
        row(
            name,
            f"{which} = {weight}",
            f"{psnr(truth, plain.image):.2f}",
            f"{psnr(truth, penalized.image):.2f}",
        )
        panels += [(f"{name}, noisy", image), ("prior alone", plain.image)]
        panels += [(f"+ {which}", penalized.image)]
    figure("regularizers", *panels, columns=3, limits=(20, 220))


JOBS = {
    job.__name__.replace("_", "-"): job
    for job in (
        inpaint, regions, scratch, super_resolution, sky, coadd, guided, jpeg, stripes,
        noise, censored, robust, regularization,
    )
}  # fmt: skip


def main() -> None:
    """Print the tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", help=f"of {', '.join(JOBS)}; default: all")
    parser.add_argument("--reference", action="store_true", help="also run the original method")
    parser.add_argument("--factors", type=int, nargs="*", default=(2, 4, 8), help="of super-resolution")
    parser.add_argument("--members", type=int, default=3, help="number of fits, of super-resolution")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{conditions(args.threads)}; seed 0; PSNR in dB\n")
    for job in args.jobs or JOBS:
        print(f"\n## {job}\n", flush=True)
        JOBS[job](args)


if __name__ == "__main__":
    main()
