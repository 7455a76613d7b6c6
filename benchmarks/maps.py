"""Parameter maps of a simulated head: pixels alone, images denoised together, and the prior.

Run as ``python benchmarks/maps.py [--maps t2 t1 adc] [--seeds 1] [--side 128] [--threads 1]``. The
images have Rician noise of 0.02 (S/N 20 or so); its standard deviation is found from the misfit of
single pixels, and given to all. Errors are relative to the true map, r.m.s. over all pixels that consist
of one tissue, with the median of the error in white matter as its bias.
"""

import argparse
import time
import warnings

import numpy as np

from common import conditions, header, row
from napari_dip import Recipe, fit_maps, restore
from napari_dip.core.torch_import import torch
from napari_dip.datasets import TISSUES, quantitative_head
from napari_dip.physics.signals.adc import Diffusion
from napari_dip.physics.signals.t1_flip_angle import FlipAngles
from napari_dip.physics.signals.t2 import EchoDecay

MAPS = {  # the equation, and the signal of unit proton density
    "t2": (EchoDecay(echo_times=tuple(0.012 * n for n in range(1, 9))), 1),
    "t1": (FlipAngles(flip_angles=(2, 4, 11, 13, 15), repetition_time=0.0068), 10),
    "adc": (Diffusion(b_values=(0, 200, 400, 800)), 1),
}


def main() -> None:
    """Print a row for each map and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", nargs="+", default=list(MAPS), choices=MAPS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    print(conditions(args.threads), flush=True)
    header("map", "seed", "pixels alone", "denoised together", "prior", "bias", "8-pixel lesion", "s")
    for name in args.maps:
        for seed in args.seeds:
            equation, amplitude = MAPS[name]
            head = quantitative_head(equation, seed, side=args.side, amplitude=amplitude)
            alone = fit_maps(head.images, equation, method="pixelwise")
            recipe = Recipe.preset("time-series").with_settings({"noise.sigma": alone.sigma})
            denoised = restore(head.images, recipe, axes="TYX").image
            together = fit_maps(denoised, equation, method="pixelwise", sigma=alone.sigma)
            start = time.perf_counter()
            prior = fit_maps(head.images, equation)
            seconds = time.perf_counter() - start
            errors = [relative_error(found, equation, head) for found in (alone, together, prior)]
            rms = [f"{100 * np.sqrt(np.mean(error[head.tissue > 0] ** 2)):.2f} %" for error in errors]
            white, lesion = (
                np.median(errors[-1][head.tissue == TISSUES.index(tissue)])
                for tissue in ("white matter", "lesion")
            )
            row(name, seed, *rms, f"{100 * white:+.2f} %", f"{100 * lesion:+.2f} %", f"{seconds:.0f}")


def relative_error(found, equation, head) -> np.ndarray:
    """Return the error of a map over its true value, where there is one."""
    value = np.where(head.value > 0, head.value, np.nan)
    return found.maps[equation.parameter.name] / value - 1


if __name__ == "__main__":
    main()
