"""*Plugins > napari-dip > Compare two images*."""

import napari
import numpy as np
from magicgui import magic_factory
from napari.layers import Image
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from napari_dip.plugin.layers import KEY, axes_of, pixels_of


@magic_factory(
    call_button="Compare",
    result_widget=True,
    first={"tooltip": "An image."},
    second={"tooltip": "Another one of the same shape; it is subtracted from the first."},
    truth={"tooltip": "Where it is known: what both should be. The peak of the PSNR is its range."},
)
def compare(
    viewer: napari.viewer.Viewer, first: Image, second: Image, truth: Image | None = None
) -> str:
    """Add the difference of two images, and tell how far each is from the truth."""
    if first is None or second is None:
        return "Open two images first."
    one, other = (np.asarray(pixels_of(layer), float) for layer in (first, second))
    for layer in filter(None, (second, truth)):
        if (shape := pixels_of(layer).shape) != one.shape:
            return f"'{layer.name}' is {shape}, '{first.name}' {one.shape}: choose images of one shape."
    difference = one - other
    rms = float(np.sqrt(np.nanmean(difference**2)))
    most = float(np.nanpercentile(np.abs(difference), 99.5)) or 1.0
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    viewer.add_image(
        difference.sum(axis=-1) if first.rgb else difference,
        name=f"{first.name} minus {second.name}",
        colormap="PiYG",
        contrast_limits=(-most, most),
        metadata={KEY: {"axes": axes_of(first)[: first.ndim]}},
        **{name: getattr(first, name) for name in names},
    )
    told = f"r.m.s. difference {rms:.4g}"
    if truth is not None:
        known = np.asarray(pixels_of(truth), float)
        for layer, pixels in ((first, one), (second, other)):
            told += f"; PSNR of '{layer.name}' {_psnr(known, pixels):.2f} dB"
    return told


def _psnr(truth: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """Where both are known."""
    both = np.isfinite(truth) & np.isfinite(image)
    known = truth[both]
    return float(peak_signal_noise_ratio(known, image[both], data_range=float(np.ptp(known)) or 1.0))
