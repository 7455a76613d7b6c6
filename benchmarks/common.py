"""What the benchmarks share: images of known truth, scores, tables and pictures."""

import os
import platform
from pathlib import Path

import numpy as np
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio

from napari_dip import Observation, Recipe, __version__, restore
from napari_dip.run.restoration import iter_restoration

DATA = Path(os.environ.get("NAPARI_DIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
PICTURES = Path(__file__).parents[1] / "docs" / "images"


def natural(name: str) -> np.ndarray:
    """An image of the folder as float, 0 to 255, without transparency."""
    image = imread(DATA / "natural" / name).astype(float)
    return image[..., :3] if image.ndim == 3 else image


def centre(image: np.ndarray, side: int = 256) -> np.ndarray:
    """The middle of an image."""
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def halved(image: np.ndarray, by: int = 2) -> np.ndarray:
    """Means over `by` x `by` pixels."""
    height, width = (size // by * by for size in image.shape[:2])
    shape = (height // by, by, width // by, by, *image.shape[2:])
    return image[:height, :width].reshape(shape).mean(axis=(1, 3))


def psnr(truth: np.ndarray, image: np.ndarray, span: float = 255) -> float:
    """Peak signal-to-noise ratio in dB, nothing clipped."""
    return peak_signal_noise_ratio(truth, image, data_range=span)


def curve(recipe: Recipe, observation: Observation, truth: np.ndarray, *, span: float = 255):
    """The result, and by how many dB the running average was better at its best than where it stopped.

    Of the first fit, looked at every 10 steps, before the second look at the data. Where some pixels are
    from a step of their own, the fit is run again without the second look to be scored.
    """
    scores = {}
    run = iter_restoration(observation, recipe, snapshot_every=10)
    while True:
        try:
            iterate = next(run)
        except StopIteration as end:
            result = end.value
            break
        if iterate.image is not None and not iterate.member:
            scores[iterate.step] = psnr(truth, iterate.image, span)
    stopped = scores[min(scores, key=lambda step: abs(step - result.history[0].chosen))]
    if "stars and the like" in result.history[0].reason:
        alone = recipe.with_settings({"refinement.patch_method": "none", "ensemble.size": 1})
        stopped = psnr(truth, restore(observation, alone).image, span)
    return result, max(scores.values()) - stopped


def taken(result) -> str:
    """The step that each fit took, of how many."""
    return ", ".join(f"{course.chosen} of {len(course.loss)}" for course in result.history)


def row(*cells) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells) -> None:
    """The head of a Markdown table."""
    row(*cells)
    row(*["---"] * len(cells))


def conditions(threads: int) -> str:
    """Machine and versions, in a line."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"napari-dip {__version__}, torch {torch.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}; {platform.machine()}, {threads} threads, {gpu}"
    )


def picture(name: str, *panels, limits=None, columns: int | None = None) -> None:
    """Save (title, image) panels side by side as docs/images/NAME.png; colours are 0 to 255."""
    from matplotlib import pyplot

    figure, axes = _panels(panels, columns or len(panels))
    for axis, (_, image) in zip(axes, panels, strict=False):
        if image.ndim == 3:
            axis.imshow(np.clip(image / 255, 0, 1), interpolation="nearest")
        else:
            low, high = limits or np.nanpercentile(panels[0][1], (1, 99.5))
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    figure.savefig(PICTURES / f"{name}.png", dpi=90, bbox_inches="tight")
    pyplot.close(figure)
    print(f"picture: docs/images/{name}.png", flush=True)


def animation(name: str, *panels, limits) -> None:
    """Save (title, series) panels side by side as docs/images/NAME.gif, ten frames a second."""
    from matplotlib import pyplot
    from matplotlib.animation import ArtistAnimation

    figure, axes = _panels(panels, len(panels))
    shown = {"cmap": "gray", "vmin": limits[0], "vmax": limits[1], "animated": True}
    frames = zip(*(series for _, series in panels), strict=True)
    drawn = [[a.imshow(x, **shown) for a, x in zip(axes, frame, strict=True)] for frame in frames]
    ArtistAnimation(figure, drawn).save(PICTURES / f"{name}.gif", writer="pillow", fps=10, dpi=50)
    pyplot.close(figure)
    print(f"picture: docs/images/{name}.gif", flush=True)


def _panels(panels, columns: int):
    """A figure with an empty, titled place for each panel."""
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
    PICTURES.mkdir(parents=True, exist_ok=True)
    return figure, list(axes.flat)
