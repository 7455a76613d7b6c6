"""What is told of a run before it begins, against what it then took: steps and seconds.

    python benchmarks/forecast.py [LEVEL ...]

Real frames as they are, by default at levels fast and balanced, seed 0. The usual number of steps,
``napari_dip.run.forecast.USUAL`` times the patience, was chosen on the first four; the others report.
"""

import sys

import numpy as np

from common import DATA, centre, conditions, natural
from napari_dip import Observation, Recipe, read, restore
from napari_dip.run.forecast import RunEstimator

FRAMES = (
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


def frame(name: str, side: int) -> Observation:
    """The middle of the first plane of a file, grey."""
    if name.startswith("natural"):
        plane = natural(name.partition("/")[2]).mean(axis=-1)
    else:
        plane = read(DATA / name).y[0, 0, 0]
    side = min(side, *plane.shape)
    return Observation.from_array(np.array(centre(plane, side)), axes="YX")


def main() -> None:
    """Print one line for each frame and level, then the medians."""
    print(conditions(1))
    print(f"{'frame':42}{'level':>10}{'steps':>8}{'told':>7}{'seconds':>9}{'told':>7}{'ratio':>7}")
    ratios = []
    pace = RunEstimator()
    for name, side in FRAMES:
        observation = frame(name, side)
        for level in sys.argv[1:] or ("fast", "balanced"):
            recipe = Recipe.preset("denoise").with_quality(level)
            told = pace.estimate(recipe, observation)
            result = restore(observation, recipe)
            fits = recipe.ensemble.size
            took = result.provenance["seconds"]
            ratios.append(told.seconds / took)
            print(
                f"{name:42}{level:>10}{result.steps / fits:8.0f}{told.steps:7}{took:9.0f}"
                f"{told.seconds:7.0f}{ratios[-1]:7.2f}",
                flush=True,
            )
    low, middle, high = np.percentile(ratios, (10, 50, 90))
    print(f"told / took: median {middle:.2f}, 10 to 90 % from {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
