"""Inpainting."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import numpy as np

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ObservationError
from napari_dip.run.api._options import NumericOptions, Options, observe, restore_observation
from napari_dip.run.recipe import Recipe

InpaintKind = Literal["auto", "thin", "large", "random", "sparse"]

SPARSE_FRACTION = 0.1  # of the pixels: of fewer an image is made from sparse samples
RANDOM_FRACTION = 0.2  # of the pixels: more missing ones than this, if scattered, are random
THIN_RADIUS_PX = 6.0  # of the largest disk that is missing: up to it a region is thin


def inpaint(
    image: Any, mask: Any = None, *, kind: InpaintKind = "auto", **options: Unpack[NumericOptions]
) -> Any:
    """Fill in missing pixels, and leave all others exactly as they are.

    Parameters
    ----------
    image
        As for `denoise`.
    mask : array of bool, optional
        True where data are missing, besides pixels that are not finite or that the image masks itself.
    kind : {"auto", "thin", "large", "random", "sparse"}
        What is missing: text and scratches; a large region; random pixels, about half of them; or all
        but a few per cent. ``"auto"`` decides by the mask; the summary reports the choice.
    **options
        As for `denoise`.

    Returns
    -------
    image
        As for `denoise`.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`; also if nothing is missing.

    Examples
    --------
    >>> import napari_dip as dip
    >>> y, x = np.mgrid[:48, :64]
    >>> image = np.sin(x / 9) + np.cos(y / 7)
    >>> mask = np.zeros(image.shape, bool)
    >>> mask[20:23, 10:50] = True
    >>> filled = dip.inpaint(image, mask, quality="fast")
    >>> bool(np.array_equal(filled[~mask], image[~mask].astype(np.float32)))
    True
    """
    observation, wrap = observe(image, Options(**options, mask=mask))
    missing = ~observation.observed
    if not missing.any():
        raise ObservationError("nothing is missing: give a mask, or an image with NaN")
    chosen = _inpaint_kind(missing) if kind == "auto" else kind
    note = f"mask treated as {chosen} (automatic)" if kind == "auto" else ""
    preset = "inpaint" if chosen == "thin" else f"inpaint-{chosen}"
    task: Options = {**options, "mask": None}
    return restore_observation(observation, wrap, Recipe.preset(preset), task, note)


def _inpaint_kind(missing: BoolArray) -> InpaintKind:
    """What kind of mask (T, C, Z, Y, X) this is."""
    from scipy.ndimage import distance_transform_edt

    fraction = float(missing.mean())
    if fraction >= 1 - SPARSE_FRACTION:
        return "sparse"
    planes = missing.reshape(-1, *missing.shape[-2:])
    radius = max(float(distance_transform_edt(np.pad(plane, 1)).max()) for plane in planes)
    if radius > THIN_RADIUS_PX:
        return "large"
    return "random" if fraction >= RANDOM_FRACTION else "thin"
