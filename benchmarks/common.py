"""What the benchmarks share: images of known truth, scores, tables and figures."""

import os
import platform
from pathlib import Path

import numpy as np
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio

from napari_dip import Observation, Recipe, __version__, iter_restore, restore

DATA = Path(os.environ.get("NAPARI_DIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
FIGURES = Path(__file__).parents[1] / "docs" / "images"


def natural(name: str) -> np.ndarray:
    """Return an image of the data folder as float, 0 to 255, without an alpha channel."""
    image = imread(DATA / "natural" / name).astype(float)
    return image[..., :3] if image.ndim == 3 else image


def center(image: np.ndarray, side: int = 256) -> np.ndarray:
    """Return the center of an image."""
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def halved(image: np.ndarray, by: int = 2) -> np.ndarray:
    """Return the means over `by` x `by` pixels."""
    height, width = (size // by * by for size in image.shape[:2])
    shape = (height // by, by, width // by, by, *image.shape[2:])
    return image[:height, :width].reshape(shape).mean(axis=(1, 3))


def psnr(truth: np.ndarray, image: np.ndarray, span: float = 255) -> float:
    """Return the peak signal-to-noise ratio in dB, without clipping."""
    return peak_signal_noise_ratio(truth, image, data_range=span)


def curve(recipe: Recipe, observation: Observation, truth: np.ndarray, *, span: float = 255):
    """Return the result, and by how many dB the running average was better at its best than at the stop.

    This is for the first fit, scored every 10 steps, before the refinement. Where bright pixels come
    from another step, the fit is scored by another run without refinement.
    """
    scores = {}
    with iter_restore(observation, recipe, snapshot_every=10) as run:
        for progress in run:
            if progress.image is not None and not progress.member:
                scores[progress.step] = psnr(truth, progress.image, span)
        result = run.result
    if not result.steps:
        return result, 0.0  # without a fit there is no step
    stopped = scores[min(scores, key=lambda step: abs(step - result.history[0].selected_step))]
    if "stars and other bright pixels" in result.history[0].stop_reason:
        alone = recipe.with_settings({"refinement.patch_method": "none", "ensemble.size": 1})
        stopped = psnr(truth, restore(observation, alone).image, span)
    return result, max(scores.values()) - stopped


def selected_steps(result) -> str:
    """Return the step that was selected in each fit, and the number of its steps."""
    return ", ".join(f"{fit.selected_step} of {len(fit.loss)}" for fit in result.history)


def row(*cells) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells) -> None:
    """Print the head of a Markdown table."""
    row(*cells)
    row(*["---"] * len(cells))


def conditions(threads: int) -> str:
    """Return the machine and the versions, in one line."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"napari-dip {__version__}, torch {torch.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}; {platform.machine()}, {threads} threads, {gpu}"
    )


def figure(name: str, *panels, limits=None, columns: int | None = None) -> None:
    """Save (title, image) panels side by side as docs/images/NAME.png; colors are 0 to 255."""
    from matplotlib import pyplot

    canvas, axes = _panels(panels, columns or len(panels))
    for axis, (_, image) in zip(axes, panels, strict=False):
        if image.ndim == 3:
            axis.imshow(np.clip(image / 255, 0, 1), interpolation="nearest")
        else:
            low, high = limits or np.nanpercentile(panels[0][1], (1, 99.5))
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    canvas.savefig(FIGURES / f"{name}.png", dpi=90, bbox_inches="tight")
    pyplot.close(canvas)
    print(f"figure: docs/images/{name}.png", flush=True)


def animation(name: str, *panels, limits) -> None:
    """Save (title, series) panels side by side as docs/images/NAME.gif, ten frames a second."""
    from matplotlib import pyplot
    from matplotlib.animation import ArtistAnimation

    figure, axes = _panels(panels, len(panels))
    shown = {"cmap": "gray", "vmin": limits[0], "vmax": limits[1], "animated": True}
    frames = zip(*(series for _, series in panels), strict=True)
    drawn = [[a.imshow(x, **shown) for a, x in zip(axes, frame, strict=True)] for frame in frames]
    ArtistAnimation(figure, drawn).save(FIGURES / f"{name}.gif", writer="pillow", fps=10, dpi=50)
    pyplot.close(figure)
    print(f"figure: docs/images/{name}.gif", flush=True)


def _panels(panels, columns: int):
    """Return a figure with empty, titled axes for each panel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3 * columns, 3.2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, _) in zip(axes.flat, panels, strict=False):
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    FIGURES.mkdir(parents=True, exist_ok=True)
    return figure, list(axes.flat)
