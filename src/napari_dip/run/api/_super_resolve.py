"""Super-resolution."""

from __future__ import annotations

from typing import Any, Unpack

from napari_dip.core import interop
from napari_dip.run.api._options import Options, run_task
from napari_dip.run.recipe import Recipe


def super_resolve(
    image: Any, scale_factor: float | tuple[float, float] = 2, **options: Unpack[Options]
) -> Any:
    """Restore an image on a finer grid, as if it had been observed with smaller pixels.

    Parameters
    ----------
    image
        As for `denoise`; with little noise, for the result predicts the image, noise and all.
    scale_factor : float or (float, float)
        Pixels of the result per pixel of the image, along Y and X, from 1 to 8.
    **options
        As for `denoise`.

    Returns
    -------
    image
        As for `denoise`, with interpolated coordinates.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867, eq. (6).

    Examples
    --------
    >>> import napari_dip as dip
    >>> image = np.random.default_rng(0).normal(100, 5, (40, 48))
    >>> dip.super_resolve(image, 2, quality="fast").shape
    (80, 96)
    """
    interop.check_resizable(image)
    recipe = Recipe.preset("super-resolution").replace(operator={"scale_factor": scale_factor})
    return run_task(image, recipe, options)
