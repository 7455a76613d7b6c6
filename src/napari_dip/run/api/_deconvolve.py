"""Deconvolution."""

from __future__ import annotations

from typing import Any, Unpack

from napari_dip.core.errors import SettingsError
from napari_dip.run.api._options import Options, load_array, observe, restore_observation
from napari_dip.run.recipe import Recipe


def deconvolve(
    image: Any, psf: Any = None, *, fwhm: float | None = None, **options: Unpack[Options]
) -> Any:
    """Remove a blur and the noise from an image.

    Parameters
    ----------
    image
        As for `denoise`.
    psf : array-like or path, optional
        Image of the point spread function; it need not be normalized. Default: that of an NDData.
    fwhm : float, optional
        Full width at half maximum of a Gaussian point spread function, in place of `psf`. [pixel]
    **options
        As for `denoise`.

    Returns
    -------
    image
        As for `denoise`.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`; also if both of `psf` and `fwhm` are given, or neither.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867, eq. (3).

    Examples
    --------
    >>> import napari_dip as dip
    >>> image = np.random.default_rng(0).normal(100, 5, (48, 64))
    >>> dip.deconvolve(image, fwhm=2.5, quality="fast").shape
    (48, 64)
    """
    observation, wrap = observe(image, options)
    if psf is not None:
        observation = observation.with_auxiliary("psf", load_array(psf))
    if ("psf" in observation.auxiliary) == (fwhm is not None):
        raise SettingsError(
            "deconvolution needs one point spread function: give either psf, an image of it, or fwhm,"
            " its full width at half maximum in pixels"
        )
    recipe = Recipe.preset("deconvolve")
    if fwhm is not None:
        recipe = recipe.replace(operator={"psf": "gaussian", "fwhm": fwhm})
    return restore_observation(observation, wrap, recipe, options)
