"""Make the pictures before and after of the first page of the documentation.

Run as ``python scripts/gallery.py [NAME ...]``; writes docs/_static/gallery/NAME_before.webp and
NAME_after.webp. Everything is made from images that scikit-image has, and from simulated data, at the
default settings; the true image is not used.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve
from skimage import data

import napari_dip as dip
from napari_dip.datasets import cardiac_cine, scratched_cell, star_field
from napari_dip.physics.operators._psf import psf_model

FOLDER = Path(__file__).parents[1] / "docs" / "_static" / "gallery"
SIDE, SMALL_SIDE = 256, 160  # of the pictures, and of those that take long [pixel]
SHOWN_PX = 512  # at most, with a whole number for each pixel
RNG = np.random.default_rng(0)


def square(image, row, column, side=SIDE):
    """Return a square of the image as float32."""
    return image[row : row + side, column : column + side].astype(np.float32)


def galaxies():
    """Galaxies of the Hubble deep field with noise."""
    noisy = square(data.hubble_deep_field(), 170, 90)
    noisy = noisy + RNG.normal(0, 25, noisy.shape)
    return noisy, dip.denoise(noisy, axes="YXC"), (0, 160)


def stars():
    """A simulated star field, with the gain and the read noise of its header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.fits"
        star_field().writeto(path)
        before = np.squeeze(dip.read(path).y)
        restored = dip.denoise(path, noise="poisson-gaussian").image
    sky, spread = np.nanmedian(before), np.nanstd(before[before < np.nanpercentile(before, 90)])
    stretched = [np.arcsinh((x - sky) / (2 * spread)) for x in (before, restored)]
    return *stretched, (-1, 5)


def moon():
    """Craters of the moon behind a turbulent atmosphere."""
    psf = psf_model("moffat", 4.0, 3.0)
    wide = data.moon()[80:320, 80:320].astype(float)
    blurred = square(fftconvolve(wide, psf / psf.sum(), mode="same"), 40, 40, SMALL_SIDE)
    blurred = blurred + RNG.normal(0, 2, blurred.shape)
    return blurred, dip.deconvolve(blurred, psf, axes="YX"), None


def cell():
    """A noisy cell with a scratch."""
    noisy, mask, _ = scratched_cell()
    restored = dip.denoise(noisy, mask=mask, axes="YX")
    part = np.s_[-SIDE:, -SIDE:]
    return np.where(mask, np.nan, noisy)[part], restored[part], None


def tissue():
    """Stained tissue with the noise of few photons."""
    photons = RNG.poisson(square(data.immunohistochemistry(), 150, 150, SMALL_SIDE) / 255 * 30).astype(
        np.float32
    )
    return photons, dip.denoise(photons, axes="YXC", noise="poisson", gain=1.0), (0, 30)


def heart():
    """A frame of a beating heart from a twelfth of its samples."""
    scan = cardiac_cine(side=64, beats=(10,), coils=6)
    sampled = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.kspace, axes=(-2, -1))), axes=(-2, -1))
    zero_filled = np.sqrt((np.abs(sampled) ** 2).sum(axis=1))
    restored = np.abs(dip.reconstruct_mri(scan.kspace, scan.maps))
    frame = 5
    scale = np.percentile(restored[frame], 99.5) / np.percentile(zero_filled[frame], 99.5)
    return zero_filled[frame] * scale, restored[frame], (0, np.percentile(restored[frame], 99.5))


def cat():
    """A JPEG image of quality 10."""
    buffer = io.BytesIO()
    Image.fromarray(square(data.chelsea(), 20, 90).astype(np.uint8)).save(buffer, "JPEG", quality=10)
    before = np.asarray(Image.open(buffer)).astype(np.float32)
    return before, dip.restore(before, "remove-jpeg-artifacts", axes="YXC").image, (0, 255)


def portrait():
    """A photograph of which four pixels of five are missing."""
    image = square(data.astronaut(), 20, 150, SMALL_SIDE)
    missing = RNG.random(image.shape[:2]) < 0.8
    restored = dip.inpaint(image, missing, axes="YXC")
    return np.where(missing[..., None], np.nan, image), restored, (0, 255)


SCENES = (galaxies, stars, moon, cell, tissue, heart, cat, portrait)


def main() -> None:
    """Make the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        if sys.argv[1:] and scene.__name__ not in sys.argv[1:]:
            continue
        *images, limits = scene()
        low, high = limits or np.nanpercentile(images[1], (0.5, 99.5))
        for image, when in zip(images, ("before", "after"), strict=True):
            shown = np.nan_to_num((np.squeeze(image) - low) / (high - low)).clip(0, 1)
            picture = Image.fromarray((255 * shown).astype(np.uint8))
            large = [max(SHOWN_PX // max(picture.size), 1) * n for n in picture.size]
            picture.resize(large, Image.Resampling.NEAREST).save(
                FOLDER / f"{scene.__name__}_{when}.webp", quality=80
            )
        print(scene.__name__, flush=True)


if __name__ == "__main__":
    main()
