"""Coaddition of exposures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from napari_dip.core import interop
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.observation import Observation
from napari_dip.run.api._options import Options, is_path, load_array, observe, restore_observation
from napari_dip.run.recipe import Recipe


def coadd(
    images: Any,
    *,
    psf: Any = None,
    scale_factor: float = 1,
    rotation: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Combine exposures of one scene that are shifted against each other, and may be turned.

    Parameters
    ----------
    images : sequence of images or paths, or an array (T, Y, X)
        At least two exposures of one shape, as for `denoise`. Each may have its own mask and noise.
    psf : array-like or path, optional
        Image of the point spread function, which is removed: one for all, or one for each exposure,
        (T, Y, X).
    scale_factor : float
        Pixels of the result per pixel of an exposure, along Y and X, from 1 to 8.
    rotation : bool
        Whether the exposures turn, too. Their motion is measured from all of them together, and is in
        ``motion`` of the full output; their mean is denoised, with the noise that their scatter shows. A
        noise map (`sigma`, an error plane) only says how much each exposure counts.
    **options
        As for `denoise`.

    Returns
    -------
    image
        One image on the grid of the first exposure, of its type; as for `denoise`.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`; also if there is only one exposure, or if `rotation` is combined with a PSF, a
        finer grid or a noise that is one number.

    Examples
    --------
    >>> import napari_dip as dip
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:40, :48]
    >>> scene = 100 + 50 * np.sin(x / 6) * np.cos(y / 5)
    >>> exposures = [rng.normal(scene, 5) for _ in range(3)]
    >>> dip.coadd(exposures, quality="fast").shape
    (40, 48)
    """
    if isinstance(images, list | tuple) and not all(map(is_path, images)):
        observation, wrap = _stack([observe(image, options) for image in images])
    else:
        observation, wrap = observe(images, {"axes": "TYX", **options})
    if psf is not None:
        kernel = load_array(psf)
        observation = observation.with_auxiliary("psf", kernel, axes="TYX"[-kernel.ndim :])
    if rotation:
        if psf is not None or scale_factor != 1:
            raise SettingsError(
                "exposures that turn are combined on their own grid and with their own PSF: leave psf"
                " and scale_factor out, and deconvolve or resample the result"
            )
        recipe = Recipe.preset("coadd-rotation")
    else:
        recipe = Recipe.preset("coadd").replace(operator={"scale_factor": float(scale_factor)})
    return restore_observation(observation, wrap, recipe, options)


def _stack(parts: Sequence[tuple[Observation, interop.Wrap]]) -> tuple[Observation, interop.Wrap]:
    """Observations of one shape as frames along T, and the function that wraps as the first was."""
    observations = [observation for observation, _ in parts]
    first, wrap = parts[0]
    for number, other in enumerate(observations[1:], 2):
        if other.y.shape != first.y.shape or other.axes != first.axes or "T" in first.axes:
            raise ObservationError(
                f"exposure {number} has the axes {other.axes} and the shape"
                f" {other.to_input_axes(other.y).shape}, and the first {first.axes} and"
                f" {first.to_input_axes(first.y).shape}: images of one shape, without T, are needed"
            )
        if other.header.unit != first.header.unit:
            raise ObservationError(
                f"exposure {number} has the unit '{other.header.unit}', and the first"
                f" '{first.header.unit}': convert them to one unit"
            )
        if odd := sorted(set(other.auxiliary) ^ set(first.auxiliary)):
            raise ObservationError(
                f"only some exposures have {', '.join(odd)}: exposure {number} and the first differ;"
                " give it for all, or for none"
            )
    auxiliary = {
        name: np.concatenate([other.auxiliary[name] for other in observations])
        for name in first.auxiliary
    }
    stacked = Observation(
        y=np.concatenate([other.y for other in observations]),
        observed=np.concatenate([other.observed for other in observations]),
        axes=f"T{first.axes}",
        auxiliary=auxiliary,
        header=first.header,
    )
    return stacked, wrap
