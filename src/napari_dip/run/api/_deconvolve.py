"""Deconvolution."""

from __future__ import annotations

from typing import Any, Unpack

from napari_dip.core.errors import SettingsError
from napari_dip.run.api._options import Options, load_array, observe, restore_observation
from napari_dip.run.recipe import Recipe


def deconvolve(
    image: Any,
    psf: Any = None,
    *,
    fwhm: float | None = None,
    target_fwhm: float | None = None,
    **options: Unpack[Options],
) -> Any:
    """Remove a blur and the noise from an image.

    Parameters
    ----------
    image
        As for `denoise`.
    psf : array-like or path, optional
        Image of the point spread function; it need not be normalized. One of several planes restores the
        depths of a volume jointly. Default: that of an NDData.
    fwhm : float, optional
        Full width at half maximum of a Gaussian point spread function, in place of `psf`. [pixel]
    target_fwhm : float, optional
        Full width at half maximum of the smallest detail of the result, such as a star: less than that
        of the point spread function. Default: 2 pixels, or as much less as that demands; 0 for no
        limit. [pixel]
    **options
        As for `denoise`.

    Returns
    -------
    image
        As for `denoise`.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`; also if both of `psf` and `fwhm` are given, or neither, or if the point
        spread function is not wider than `target_fwhm`.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867, eq. (3).
    .. [2] Magain, Courbin, Sohy, "Deconvolution with correct sampling", Astrophys. J. 494 (1998) 472.

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
    is_volume = psf is not None and observation.auxiliary["psf"].shape[2] > 1
    recipe = Recipe.preset("deconvolve-volume" if is_volume else "deconvolve")
    recipe = recipe.with_settings({"operator.target_fwhm": target_fwhm})
    if fwhm is not None:
        recipe = recipe.with_settings({"operator.psf": "gaussian", "operator.fwhm": fwhm})
    return restore_observation(observation, wrap, recipe, options)
