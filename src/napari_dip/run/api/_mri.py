"""Reconstruction of magnetic resonance images."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import SettingsError
from napari_dip.core.result import Result
from napari_dip.io import read
from napari_dip.run.api._options import (
    Options,
    add_auxiliary,
    is_number,
    is_path,
    load_array,
    restore_observation,
)
from napari_dip.run.recipe import Recipe

_NOT_FOR_KSPACE = ("noise", "gain", "read_noise", "axes", "channel_axis", "dtype")


def reconstruct_mri(
    kspace: Any, coil_maps: Any = None, *, trajectory: Any = None, **options: Unpack[Options]
) -> Any:
    """Reconstruct images from undersampled k-space of several coils, all frames jointly.

    Parameters
    ----------
    kspace : complex array or path
        (T, coils, Y, X), (coils, Y, X), (Y, X) or, for several slices, (T, coils, Z, Y, X); centered,
        and 0 where nothing was sampled. With a trajectory (T, coils, spokes, samples).
    coil_maps : complex array or path, optional
        Coil sensitivities, (coils, Y, X). Default: estimated from the center of k-space.
    trajectory : array or path, optional
        Position of each sample, (T, 2, spokes, samples), rows and columns. [cycle / pixel]
    **options
        As for `denoise`, except `noise`, `gain`, `read_noise`, `axes`, `channel_axis` and `dtype`.
        `sigma` is one number: the standard deviation of the noise in the real and the imaginary part of
        k-space.

    Returns
    -------
    images : (T, Y, X) complex64, or without T
        A `Result` with `full_output`, or for a path; its channels are the real and the imaginary parts.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        If arrays are not complex, or do not match.

    References
    ----------
    .. [1] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337.

    Examples
    --------
    >>> import napari_dip as dip
    >>> heart = dip.datasets.cardiac_cine(side=48, coils=4, beats=(6,))
    >>> images = dip.reconstruct_mri(heart.kspace, heart.maps, quality="fast")
    >>> images.shape, images.dtype
    ((6, 48, 48), dtype('complex64'))
    """
    from napari_dip.io.mri.arrays import kspace_image

    if unused := [name for name in _NOT_FOR_KSPACE if options.get(name) is not None]:
        raise SettingsError(
            f"{unused[0]} does not apply to k-space, whose axes and noise model are fixed"
        )
    from_path = is_path(kspace)
    observation = read(kspace) if from_path else kspace_image(np.asarray(kspace), "", 0).to_observation()
    if options.get("mask") is not None:
        observation = observation.with_mask(load_array(options["mask"]))
    if coil_maps is not None:
        observation = add_auxiliary(observation, "coil_maps", coil_maps)
    recipe = Recipe.preset("dynamic-mri")
    if trajectory is not None:
        places = load_array(trajectory)
        observation = observation.with_auxiliary("trajectory", places, axes="TCYX"[-places.ndim :])
        recipe = recipe.replace(operator={"kind": "radial"})
    if (sigma := options.get("sigma")) is not None:
        if not is_number(sigma):
            raise SettingsError("sigma has to be one number for k-space: it has one noise level")
        recipe = recipe.replace(noise={"sigma": float(np.asarray(sigma))})

    def wrap(result: Result, values: NDArray[Any]) -> Any:
        if from_path:
            return result
        real, imaginary = np.moveaxis(result.image, result.axes.index("C"), 0)
        return (real + 1j * imaginary).astype(np.complex64)

    return restore_observation(observation, wrap, recipe, options, keep_noise=True)
