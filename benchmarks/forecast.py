"""Forecasts of steps and seconds, compared with what the runs take.

    python benchmarks/forecast.py [QUALITY ...]

Real images as they are, by default at the qualities fast and balanced, seed 0. The typical number of
steps, ``napari_dip.run.forecast.STEPS_PER_PATIENCE`` times the patience, was chosen on the first four
images; the others test it.
"""

import argparse

import numpy as np

from common import DATA, center, conditions, natural
from napari_dip import Observation, Recipe, read, restore
from napari_dip.run.forecast import RunEstimator
from napari_dip.run.recipe import QUALITIES

IMAGES = (
    ("astronomy/M51.fits", 256),
    ("astronomy/sep_eso_ntt_emmi.fits", 256),
    ("microscopy/maize_clsm.tif", 256),
    ("microscopy/stardist_img2d_dsb2018.tif", 256),
    ("astronomy/m13.fits", 300),
    ("astronomy/cosmos_hst_f814w_250.fits", 250),
    ("astronomy/decam_c4d_170316_ooi_z_N2.fits", 240),
    ("microscopy/hela-cells.tif", 256),
    ("microscopy/cancer_cell_migration_crop.tif", 256),
    ("natural/chelsea.png", 192),
)


def load(name: str, side: int) -> Observation:
    """Return the center of the first plane of a file, in gray."""
    if name.startswith("natural"):
        plane = natural(name.partition("/")[2]).mean(axis=-1)
    else:
        plane = read(DATA / name).y[0, 0, 0]
    side = min(side, *plane.shape)
    return Observation.from_array(np.array(center(plane, side)), axes="YX")


def main() -> None:
    """Print one line for each image and quality, then the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("qualities", nargs="*", metavar="QUALITY", help=f"of {', '.join(QUALITIES)}")
    qualities = parser.parse_args().qualities or ("fast", "balanced")
    print(conditions(1))
    print(f"{'':60}{'steps':^18}{'seconds':^18}")
    print(f"{'image':50}{'quality':>10}" + f"{'taken':>8}{'forecast':>10}" * 2 + f"{'ratio':>7}")
    ratios = []
    estimator = RunEstimator()
    for name, side in IMAGES:
        observation = load(name, side)
        for quality in qualities:
            recipe = Recipe.preset("denoise").with_quality(quality)
            forecast = estimator.estimate(recipe, observation)
            result = restore(observation, recipe)
            steps, seconds = result.steps / recipe.ensemble.size, result.provenance.seconds
            ratios.append(forecast.seconds / seconds)
            print(
                f"{name:50}{quality:>10}{steps:8.0f}{forecast.steps:10}{seconds:8.0f}"
                f"{forecast.seconds:10.0f}{ratios[-1]:7.2f}",
                flush=True,
            )
    low, middle, high = np.percentile(ratios, (10, 50, 90))
    print(f"forecast / taken: median {middle:.2f}; 80 % between {low:.2f} and {high:.2f}")


if __name__ == "__main__":
    main()
